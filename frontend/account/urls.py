"""Where the pages about getting in are."""

from django.urls import path

from frontend.account import second, security

urlpatterns = [
    path("sign-in/second", second.second_factor, name="second-factor"),
    path("sign-in/enrol", second.enrol, name="enrol-at-sign-in"),
    path("sign-in/passkey/question", second.passkey_question, name="passkey-question"),
    path("sign-in/passkey", second.passkey_answer, name="passkey-answer"),
    path("profile/security", security.security, name="security"),
    path("profile/password", security.change_password, name="change-password"),
    path("profile/application", security.add_application, name="add-application"),
    path("profile/application/remove", security.remove_application, name="remove-application"),
    path("profile/recovery-codes", security.renew_recovery_codes, name="renew-recovery-codes"),
    path("profile/passkeys/new", security.add_passkey, name="add-passkey"),
    path("profile/sessions/end", security.end_sessions, name="end-sessions"),
    path("passkeys/<uuid:pk>/remove", security.remove_passkey, name="remove-passkey"),
    path("sessions/<uuid:pk>/end", security.end_session, name="end-session"),
]
