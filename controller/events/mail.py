"""Alerts by e-mail over SMTP.

Decides the words of a mail, and which answers of a server are final. Refuses to know when a mail is due. Source: RFC
5321, section 4.2.1 (4yz asks to try again later, 5yz is final).
"""

import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path

from controller.alerts.routing import MAX_IN_A_MESSAGE, Due
from controller.alerts.rule import MailReceiver
from controller.alerts.shown import AlertView, alert_view, title_of
from controller.clock import today
from controller.events.attempts import NotTaken, Refused
from controller.events.secrets import read_secret

TIMEOUT_S = 15.0
"""Seconds for one answer of a server."""
WHOLE_S = 60.0
"""Seconds for a whole mail: a server that sends single bytes slowly would block a thread forever."""


READY = 220
"""The first answer of a server that accepts mail."""


def mail_of(receiver: MailReceiver, due: Due) -> EmailMessage:
    """Returns a mail in plain text: what fires, what has ended, and what to do for each."""
    mail = EmailMessage()
    mail["Subject"] = title_of(due.group_labels, len(due.firing), len(due.resolved))
    mail["From"], mail["To"] = receiver.sender, ", ".join(receiver.to)
    mail["Date"] = format_datetime(today())
    mail["Message-ID"] = make_msgid(domain=receiver.sender.partition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no automatic reply is sent to it
    alerts = [alert_view(each) for each in (*due.firing, *due.resolved)]
    parts = [_words(each) for each in alerts[:MAX_IN_A_MESSAGE]]
    if left_out := len(alerts) - len(parts):
        parts.append(f"... and {left_out} more: edgeward alert list")
    mail.set_content("\n\n".join(parts) + "\n")
    return mail


def _words(alert: AlertView) -> str:
    said = alert.annotations
    lines = [
        f"{alert.state.upper()} {alert.severity} {alert.name}: {said['summary']}",
        said["description"] if said["description"] != said["summary"] else "",
        f"  effect  {said['effect']}",
        f"  test    {said['test']}",
        f"  since   {alert.starts_at}" + (f", until {alert.ends_at}" if alert.ends_at else ""),
        f"  labels  {' '.join(f'{name}={text}' for name, text in alert.labels.items())}",
        "" if alert.ends_at else f"  {said['clears']}",
        f"  look further: {said['look']}",
        "" if alert.ends_at else f"  be quiet for two hours: edgeward alert silence {alert.fingerprint} --for 2h",
    ]
    return "\n".join(line for line in lines if line)


def send_mail(receiver: MailReceiver, mail: EmailMessage, beside: Path) -> None:
    """Sends a mail to the server; blocks. Refused for a final answer, else NotTaken; BadInput for a lost password."""
    try:
        server = _server(receiver)
        with _within(server, WHOLE_S), server:
            _connect(server, receiver)
            if receiver.user:
                server.login(receiver.user, read_secret(beside / receiver.password_file))
            server.send_message(mail)
    except smtplib.SMTPRecipientsRefused as error:
        codes = {code for code, _ in error.recipients.values()}
        kind = Refused if min(codes) >= 500 else NotTaken
        raise kind(f"no recipient was taken: {', '.join(sorted(error.recipients))}") from None
    except smtplib.SMTPResponseException as error:
        kind = Refused if error.smtp_code >= 500 else NotTaken
        raise kind(f"SMTP {error.smtp_code}: {_text(error.smtp_error)}") from None
    except smtplib.SMTPNotSupportedError as error:
        raise Refused(str(error)) from None
    except OSError as error:  # includes smtplib's other errors, which are OSErrors
        raise NotTaken(f"{receiver.host}:{receiver.port}: {error}") from error


def _server(receiver: MailReceiver) -> smtplib.SMTP:
    if receiver.security == "tls":
        return smtplib.SMTP_SSL(timeout=TIMEOUT_S, context=ssl.create_default_context())
    return smtplib.SMTP(timeout=TIMEOUT_S)


def _connect(server: smtplib.SMTP, receiver: MailReceiver) -> None:
    server._host = receiver.host  # type: ignore[attr-defined]  # TLS checks the name that a constructor takes
    code, words = server.connect(receiver.host, receiver.port)
    if code != READY:
        raise smtplib.SMTPConnectError(code, words)
    if receiver.security == "starttls":
        server.starttls(context=ssl.create_default_context())


@contextmanager
def _within(server: smtplib.SMTP, seconds: float) -> Iterator[None]:
    """Breaks the connection of a server that is too slow; a call that waits for it raises an OSError."""
    timer = threading.Timer(seconds, _cut, [server])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _cut(server: smtplib.SMTP) -> None:
    with suppress(OSError):
        if server.sock is not None:
            server.sock.shutdown(socket.SHUT_RDWR)


def _text(words: bytes | str) -> str:
    return words.decode("utf-8", "replace") if isinstance(words, bytes) else words
