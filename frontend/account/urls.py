"""Where the pages about getting in are."""

from django.urls import path

from frontend.account import elsewhere, members, providers, second, security

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
    path("sign-in/with", elsewhere.sign_in_with, name="sign-in-with"),
    path("sign-in/callback", elsewhere.callback, name="sign-in-callback"),
    path("profile/connect", elsewhere.connect_identity, name="connect-identity"),
    path("profile/connect/now", elsewhere.connect_now, name="connect-now"),
    path("identities/<int:pk>/disconnect", elsewhere.disconnect_identity, name="disconnect-identity"),
    path("members", members.members, name="members"),
    path("members/policy", members.set_sign_in_policy, name="set-sign-in-policy"),
    path("members/<uuid:pk>", members.member, name="member"),
    path("members/<uuid:pk>/roles", members.set_member_roles, name="set-member-roles"),
    path("members/<uuid:pk>/remove", members.remove_member, name="remove-member"),
    path("members/<uuid:pk>/recover", members.recover_member, name="recover-member"),
    path("invitations/<uuid:pk>/renew", members.renew_invitation, name="renew-invitation"),
    path("invitations/<uuid:pk>/withdraw", members.withdraw_invitation, name="withdraw-invitation"),
    path("invitations/<str:secret>", members.invitation, name="invitation"),
    path("identity-providers", providers.identity_providers, name="identity-providers"),
    path("identity-providers/<uuid:pk>", providers.change_provider, name="change-provider"),
    path("identity-providers/<uuid:pk>/disconnect", providers.disconnect_provider, name="disconnect-provider"),
]
