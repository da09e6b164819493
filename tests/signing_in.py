"""Signing people in without the ceremony: the session of a sign-in, written as it is left behind."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.test import Client


def sign_in(client: Client, user: Any) -> None:
    """Let a client be that person: a third of the statements of `force_login`, which hundreds of tests begin with.

    It makes one session instead of one that is replaced and written again, and notes no time of the sign-in.
    """
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = user._meta.pk.value_to_string(user)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key
