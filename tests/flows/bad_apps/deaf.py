"""The producer, but it takes the announcement of its end and goes on as if nothing had been said."""

import secrets

import mp1


def notified(self, kind, word, notification):
    return secrets.compare_digest(word.encode(), self.secret.encode())


mp1.Membership.notified = notified
