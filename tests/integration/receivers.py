"""Two receivers of alerts on this machine for tests: one for webhooks, one for mail."""

import base64
import hashlib
import hmac
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class WebhookServer(ThreadingHTTPServer):
    """Stores (path, headers, body) of each POST. `answers` gives the status by the number of the request."""

    daemon_threads = True

    def __init__(self, answers: Callable[[int], int] = lambda _: 204) -> None:
        super().__init__(("127.0.0.1", 0), _Post)
        self.taken: list[tuple[str, dict[str, str], bytes]] = []
        self.answers = answers
        self.location = ""
        """The address of a redirect."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Post(BaseHTTPRequestHandler):
    server: WebhookServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.taken.append((self.path, {name.lower(): text for name, text in self.headers.items()}, body))
        self.send_response(self.server.answers(len(self.server.taken)))
        self.send_header("Content-Length", "0")
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def is_signed(headers: dict[str, str], body: bytes, secret: str) -> bool:
    """Returns whether a receiver that follows only Standard Webhooks would accept the message."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    proof = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    return any(
        hmac.compare_digest(base64.b64decode(each.removeprefix("v1,")), proof)
        for each in headers["webhook-signature"].split(" ")
    )


class MailServer(socketserver.ThreadingTCPServer):
    """An SMTP server (RFC 5321) for one mail at a time. `refuses` gives the answer to RCPT by its number."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, refuses: Callable[[int], str] = lambda _: "") -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.mails: list[str] = []
        self.recipients: list[str] = []
        self.refuses = refuses
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Session(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self._say("220 test")
        while line := self.rfile.readline().decode("ascii", "replace").strip():
            word = line[:4].upper()
            if word == "RCPT":
                self.server.recipients.append(line)
                self._say(self.server.refuses(len(self.server.recipients)) or "250 ok")
            elif word == "DATA":
                self._say("354 go on")
                lines = []
                while (text := self.rfile.readline().decode("utf-8", "replace")) not in (".\r\n", ""):
                    lines.append(text)
                self.server.mails.append("".join(lines))
                self._say("250 ok")
            elif word == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _say(self, words: str) -> None:
        self.wfile.write(f"{words}\r\n".encode())
