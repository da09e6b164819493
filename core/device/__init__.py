"""Sign-in for programs without a browser: a code on one screen, the approval on another (RFC 8628)."""
