"""Options about the log-in: who, with which secret, by which method."""

from __future__ import annotations

from .table import Option, Topic

_TOPIC = Topic("log-in")

OPTIONS: tuple[Option, ...] = (
    _TOPIC.text("user", "NAME", "the user name, also DOMAIN\\NAME or NAME@REALM", short="-u"),
    _TOPIC.secret("password", "the password"),
    _TOPIC.file("password-file", "read the password from the first line of FILE at each log-in"),
    _TOPIC.text(
        "password-command", "CMD", "take the password from the first line that CMD prints, run afresh at each log-in"
    ),
    _TOPIC.switch(
        "keyring", "take the password from the system's keyring at each log-in (pip install sstpsocks[keyring])"
    ),
    _TOPIC.switch(
        "one-time-password",
        "the password is a one-time code: ask for another one at each log-in, also after a loss of the tunnel",
    ),
    _TOPIC.file(
        "new-password-file", "if the server says that the password has expired, change it to the first line of FILE"
    ),
    _TOPIC.list(
        "auth",
        "LIST",
        "what may be used to log in, most wanted first: mschapv2, eap-mschapv2, peap, eap-tls, and eap-gtc, eap-md5, "
        "chap, pap, which show the server the password or prove nothing to us; with --ca-file or an --eap-... option "
        "also peap, with --eap-cert eap-tls first of all",
        default="mschapv2,eap-mschapv2",
    ),
)
