"""A device stops and people are notified. Controller, agents, broker, webhook and mail are real processes."""

import email
import email.policy
import json
from pathlib import Path
from typing import Any

import pytest

from edgeward.client import Client
from edgeward.demo.processes import Site, wait_for
from tests.integration.receivers import MailServer, WebhookServer, is_signed
from tests.integration.test_moved_device import run

pytestmark = pytest.mark.broker
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FILE = """
[[rule]]
name = "SiteOffline"
measure = "offline_ratio"
by = "site"
above = 0.5
for_s = 1.5
severity = "critical"
[[receiver]]
name = "hook"
kind = "webhook"
url = "{url}/alerts"
secret_file = "hook.secret"
group_wait_s = 0
group_interval_s = 0.2
repeat_s = 1
[[receiver]]
name = "operators"
kind = "mail"
host = "127.0.0.1"
port = {port}
security = "none"
sender = "edgeward@plant.example"
to = ["night@plant.example"]
group_wait_s = 0
group_interval_s = 0.2
"""


def in_state(client: Client, state: str) -> Any:
    return wait_for(state, lambda: client.alerts(state) or None)[0]


def events_of(hook: WebhookServer) -> list[dict[str, Any]]:
    assert all(is_signed(headers, body, SECRET) for _, headers, body in hook.taken)
    return [json.loads(body) for _, _, body in hook.taken]


def text_of(mail: str) -> str:
    return str(email.message_from_string(mail, policy=email.policy.default).get_content())


def subjects(server: MailServer) -> list[str]:
    return [str(email.message_from_string(mail)["Subject"]) for mail in server.mails]


@pytest.mark.timeout(180)
def test_people_are_notified_when_a_device_disappears_and_returns_and_can_silence_the_alert(tmp_path: Path) -> None:
    hook, mail = WebhookServer(), MailServer()
    (tmp_path / "hook.secret").write_text(SECRET)
    rules = tmp_path / "alerts.toml"
    rules.write_text(FILE.format(url=hook.url, port=mail.port))
    site = Site(tmp_path / "site", rate_hz=2.0, controller_tables=f'[alerts]\nfile = "{rules}"\nevery_s = 0.3\n')
    try:
        client = site.start_controller()
        agent = site.start_agent(1)
        wait_for("the device", lambda: [each for each in client.devices() if each.presence == "online"] or None, agent)
        assert list(client.alerts()) == []

        agent.kill()
        found = in_state(client, "pending")
        assert (found.labels["site"], found.value, found.n, found.of) == ("north", 1.0, 1, "devices")
        assert hook.taken == [] == mail.mails, "a pending alert is sent to no receiver"
        found = in_state(client, "firing")
        wait_for("a webhook", lambda: hook.taken or None)
        wait_for("a mail", lambda: mail.mails or None)
        first = events_of(hook)[0]
        assert (first["type"], first["specversion"]) == ("dev.edgeward.alerts.firing", "1.0")
        told = first["data"]["firing"][0]
        assert told["fingerprint"] == found.fingerprint
        assert told["annotations"]["description"] == "1 of 1 devices with site = north are offline or silent"
        assert subjects(mail) == ["[FIRING:1] SiteOffline"]
        assert all(
            words in text_of(mail.mails[0]) for words in ("n = 1 devices", "edgeward device list", found.fingerprint)
        )

        said = run("edgeward", "alert", "silence", found.fingerprint, "--reason", "new mast, Kim knows", site=site)
        assert in_state(client, "silenced").silenced_by == (client.silences()[0].id,)
        assert "firing alerts silenced now: 1" in said
        quiet = len(hook.taken)

        agent.start()
        over = in_state(client, "resolved")
        assert over.ends_at >= over.starts_at
        wait_for("the message that the alert is over", lambda: len(mail.mails) > 1 or None)
        assert subjects(mail)[1:] == ["[RESOLVED:1] SiteOffline"]
        after = [event["type"] for event in events_of(hook)[quiet:]]
        assert after == ["dev.edgeward.alerts.resolved"], "nothing was repeated while the alert was silenced"
        assert "0 alerts" not in run("edgeward", "alert", "list", "--state", "resolved", site=site)
        actions = [entry.action for entry in client.audit_entries(action="alert")]
        assert actions == ["alert silence"]
        assert [(each.name, each.error) for each in client.alert_receivers()] == [("hook", ""), ("operators", "")]
        assert "hook took the message" in run("edgeward", "alert", "test", "--receiver", "hook", site=site)
        assert events_of(hook)[-1]["data"]["firing"][0]["name"] == "EdgewardTest"
    finally:
        site.stop()
        hook.shutdown()
        mail.shutdown()
