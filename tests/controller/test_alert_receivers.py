"""Senders of alerts against real servers on this machine: signatures, retries, final answers, an Alertmanager."""

import asyncio
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from contract.errors import BadInput
from controller.alerts.alert import look
from controller.alerts.routing import MAX_IN_A_MESSAGE, Delivered, Due
from controller.alerts.rule import AlertmanagerReceiver, MailReceiver, Receiver, Rule, WebhookReceiver
from controller.config import Config, StorageConfig
from controller.events import attempts, mail, post
from controller.events.alertmanager import prometheus_labels
from controller.events.attempts import ATTEMPTS, NotTaken
from controller.events.cloudevents import Events
from controller.events.notifier import Notifier
from controller.events.webhooks import Webhooks
from controller.health import Finding
from controller.state import open_state
from controller.verbs.alerts import test_rules as tried
from controller.verbs.alerts import try_receiver
from tests.controller.alert_worlds import START, facts, twin
from tests.integration.receivers import MailServer, WebhookServer, is_signed

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "FIRST_WAIT_S", 0.001)


def message(receiver: str, alerts: int = 2) -> Due:
    twins = [twin(f"d{number:04}", 0.0, labels={"site.x": "north"}) for number in range(alerts)]
    active = look([Rule(name="R", measure="unheard_s", above=300.0)], facts(*twins, now=time.time()), {}, {}).active
    return Due(receiver, f"group of {receiver}", {"alertname": "R"}, tuple(active.values()), (), START)


class Noted:
    def __init__(self, receiver: Receiver, beside: Path) -> None:
        self.delivered: dict[str, Delivered] = {}
        self.receiver, self.beside = receiver, beside

    def tell(self, *messages: Due) -> Any:
        """Returns the receiver's counts once every message has been decided."""

        async def run() -> Any:
            notifier = Notifier([self.receiver], self.beside, self.delivered.__setitem__)
            notifier.start()
            notifier.offer(messages or [message(self.receiver.name)], time.time())
            fare = notifier.fares[self.receiver.name]
            async with asyncio.timeout(20):
                while fare.sent + fare.refused + fare.given_up < 1:
                    await asyncio.sleep(0.005)
            await asyncio.sleep(0.02)
            await notifier.stop()
            return fare

        return asyncio.run(run())


def hook_to(server: WebhookServer, tmp_path: Path, answer: int | None = None) -> Noted:
    (tmp_path / "s").write_text(f"{SECRET}\n")
    return Noted(WebhookReceiver(name="hook", url=f"{server.url}/x", secret_file="s"), tmp_path)


def test_a_webhook_that_fails_twice_gets_the_same_signed_bytes_until_it_accepts_them(tmp_path: Path) -> None:
    server = WebhookServer(lambda number: 503 if number < 3 else 204)
    told = hook_to(server, tmp_path)
    fare = told.tell()
    assert (fare.sent, fare.retries, fare.error) == (1, 2, "")
    assert all(is_signed(headers, body, SECRET) for _, headers, body in server.taken)
    assert len({(headers["webhook-id"], body) for _, headers, body in server.taken}) == 1
    assert list(told.delivered) == ["group of hook"]


def test_a_4xx_is_final_not_retried_and_shown(tmp_path: Path) -> None:
    server = WebhookServer(lambda _: 410)
    told = hook_to(server, tmp_path)
    fare = told.tell()
    assert (len(server.taken), fare.sent, fare.refused, fare.retries) == (1, 0, 1, 0)
    assert fare.error == "HTTP 410: not tried again"
    assert list(told.delivered) == ["group of hook"], "the same is not due again before something changes"


@pytest.mark.parametrize("status", [408, 429, 500])
def test_a_receiver_that_never_accepts_is_dropped_after_some_attempts_and_its_notification_stays_due(
    status: int, tmp_path: Path
) -> None:
    server = WebhookServer(lambda _: status)
    told = hook_to(server, tmp_path)
    fare = told.tell()
    assert (len(server.taken), fare.given_up, told.delivered) == (ATTEMPTS, 1, {})


@pytest.mark.parametrize("status", [302, 307, 308])
def test_a_redirect_to_a_local_port_is_not_followed(status: int, tmp_path: Path) -> None:
    """An attacker who controls a receiver reaches nothing that only the controller's machine can reach."""
    inside, server = WebhookServer(), WebhookServer(lambda _: status)
    server.location = f"{inside.url}/v1/devices/cam-1/revoke"
    fare = hook_to(server, tmp_path).tell()
    assert (fare.refused, fare.error) == (1, f"HTTP {status}: not tried again"), "and nothing of its answer is shown"
    assert len(server.taken) == 1
    assert inside.taken == []


def test_no_route_of_the_api_accepts_the_address_of_a_receiver(tmp_path: Path) -> None:
    """Receivers are defined in files on the controller's machine. A file tested by the API sends no message."""
    inside = WebhookServer()
    text = f'[[receiver]]\nname = "x"\nkind = "webhook"\nurl = "{inside.url}"'
    state = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    try:
        found, _ = tried(state, text, "mine.toml")
        assert len(found.receiver) == 1
        with pytest.raises(BadInput, match="unknown_receiver"):
            asyncio.run(try_receiver(state, "x", actor="mallory"))
    finally:
        state.close()
    assert inside.taken == []


def test_a_receiver_without_its_secret_prevents_the_start_and_the_error_names_the_file(tmp_path: Path) -> None:
    receivers = [
        WebhookReceiver(name="hook", url="http://127.0.0.1:1/", secret_file="none"),
        MailReceiver(name="m", host="localhost", sender="a@b", to=("c@d",), user="u", password_file="none"),
    ]
    for receiver in receivers:
        with pytest.raises(BadInput) as caught:
            Notifier([receiver], tmp_path, lambda *_: None).start()
        assert str(tmp_path / "none") in caught.value.detail


def mail_to(server: MailServer, tmp_path: Path) -> Noted:
    receiver = MailReceiver(
        name="mail", host="127.0.0.1", port=server.port, security="none", sender="edgeward@x.example",
        to=("kim@x.example", "lee@x.example"),
    )  # fmt: skip
    return Noted(receiver, tmp_path)


def test_mail_is_sent_to_every_recipient_and_a_temporary_refusal_is_retried(tmp_path: Path) -> None:
    server = MailServer(lambda number: "451 later" if number < 3 else "")
    fare = mail_to(server, tmp_path).tell()
    assert (fare.sent, fare.retries) == (1, 1)
    assert server.recipients[2:] == ["rcpt TO:<kim@x.example>", "rcpt TO:<lee@x.example>"]
    assert "Auto-Submitted: auto-generated" in server.mails[0]


def test_a_final_refusal_of_a_mail_server_is_not_retried(tmp_path: Path) -> None:
    server = MailServer(lambda _: "550 no such user")
    fare = mail_to(server, tmp_path).tell()
    assert (fare.refused, fare.retries, server.mails) == (1, 0, [])
    assert fare.error == "no recipient was taken: kim@x.example, lee@x.example"


def test_a_mail_server_without_encryption_is_an_error_and_gets_no_plain_mail(tmp_path: Path) -> None:
    server = MailServer()
    receiver = MailReceiver(name="m", host="127.0.0.1", port=server.port, sender="a@b.c", to=("d@e.f",))
    fare = Noted(receiver, tmp_path).tell()
    assert (fare.refused, server.mails) == (1, [])
    assert "STARTTLS" in fare.error


@pytest.mark.parametrize("kind", ["mail", "webhook"])
def test_a_receiver_that_drips_holds_nobody_beyond_its_deadline(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte now and then keeps a socket's own time-out away: a whole message has a deadline as well."""
    monkeypatch.setattr(mail, "WHOLE_S", 0.3)
    monkeypatch.setattr(post, "TIMEOUT_S", 0.3)
    dripping = threading.Event()

    def drip(listener: socket.socket) -> None:
        client, _ = listener.accept()
        while not dripping.wait(0.05):
            try:
                client.sendall(b"2" if kind == "mail" else b"H")
            except OSError:
                return

    async def told(port: int) -> None:
        async with post.new_session() as session:
            await post.post(session, f"http://127.0.0.1:{port}/x", b"{}", {})

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=drip, args=(listener,), daemon=True).start()
        port = listener.getsockname()[1]
        receiver = MailReceiver(
            host="127.0.0.1", port=port, sender="e@x.org", to=("a@x.org",), security="none", name="r"
        )
        with pytest.raises(NotTaken):
            asyncio.run(told(port)) if kind == "webhook" else mail.send_mail(receiver, EmailMessage(), Path())
        dripping.set()


def test_a_mail_names_a_limited_number_of_alerts_and_no_header_can_be_injected() -> None:
    receiver = MailReceiver(name="m", host="localhost", sender="a@b.c", to=("d@e.f",))
    due = message("m", MAX_IN_A_MESSAGE + 5)
    made = mail.mail_of(receiver, Due("m", "g", {"site": "x\r\nBcc: evil@x"}, due.firing, (), START))
    text = made.get_content()
    assert (text.count("FIRING warning"), made["Bcc"]) == (MAX_IN_A_MESSAGE, None)
    assert "... and 5 more: edgeward alert list" in text


def test_events_are_signed_too_and_their_delivery_is_counted(tmp_path: Path) -> None:
    server = WebhookServer()
    (tmp_path / "s").write_text(SECRET)

    async def run() -> Any:
        events = Events("/x", lambda: "2026-01-01T00:00:00+00:00", first=0)
        hooks = Webhooks([f"{server.url}/events"], events, tmp_path / "s")
        hooks.start()
        await asyncio.sleep(0.02)
        events.tell_health((Finding(code="disk_low", detail="x"),))
        async with asyncio.timeout(10):
            while not hooks.fares[0].sent:
                await asyncio.sleep(0.005)
        await hooks.stop()

    asyncio.run(run())
    ((_, headers, body),) = server.taken
    assert is_signed(headers, body, SECRET)
    assert json.loads(body)["type"] == "dev.edgeward.health.failing"


def test_labels_for_prometheus_have_valid_names() -> None:
    found = prometheus_labels({"site.x": "a", "1st": "b", "ok_2": "c", "empty": ""})
    assert found == {"site_x": "a", "_1st": "b", "ok_2": "c"}


ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


@contextmanager
def alertmanager(tmp_path: Path) -> Iterator[str]:
    """Starts a real Alertmanager; yields its address once it answers."""
    assert ALERTMANAGER is not None
    config = tmp_path / "am.yml"
    config.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = [f"--config.file={config}", f"--storage.path={tmp_path / 'am'}", "--cluster.listen-address="]
    with (tmp_path / "am.log").open("wb") as log:
        command = [ALERTMANAGER, *flags, f"--web.listen-address=127.0.0.1:{port}"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            for _ in range(200):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


@pytest.mark.prometheus
@pytest.mark.skipif(ALERTMANAGER is None, reason="no alertmanager: apt-get install prometheus-alertmanager")
def test_a_real_alertmanager_accepts_alerts_and_their_ends(tmp_path: Path) -> None:
    with alertmanager(tmp_path) as address:
        told = Noted(AlertmanagerReceiver(name="am", url=address), tmp_path)
        due = message("am", 3)
        assert told.tell(due).sent == 1
        found = json.load(urllib.request.urlopen(f"{address}/api/v2/alerts", timeout=5))
        assert {each["labels"]["device"] for each in found} == {"d0000", "d0001", "d0002"}
        assert {each["labels"]["site_x"] for each in found} == {"north"}
        assert all(each["annotations"]["look"].startswith("edgeward ") for each in found)
        ended = look([], facts(now=time.time()), {alert.fingerprint: alert for alert in due.firing}, {}).changed
        assert told.tell(Due("am", "g", {}, (), tuple(ended), time.time())).sent == 1
        assert json.load(urllib.request.urlopen(f"{address}/api/v2/alerts", timeout=5)) == []
