"""Inquiries: only the director's are answered, once, within limits, and without secrets."""

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from agent.adapters.log_lines import KEPT_LINES, LogLines, secrets_of
from agent.adapters.looks import Looks, no_doctor
from agent.config import Config, load_config
from agent.uplink.inquiries import BURST_S, MAX_BURST
from agent.uplink.redaction import HIDDEN, Redactor
from contract import topics
from contract.inquiries import LIFE_S, MAX_ANSWER_BYTES, MAX_LINE_CHARS, Answered, Inquiry, fitted
from contract.protocol import MAX_MESSAGE_BYTES
from contract.trust.inquiries import sign_inquiry
from contract.wire import decode, encode
from firmware_sim.fleet_keys import KEYS, signer
from firmware_sim.solo import NAME, Solo
from tests.agent.attacked_device import attacked_device, date, refusals

OURS = topics.inquiry(NAME)


@pytest.fixture
def device() -> Solo:
    return attacked_device()


def inquiry(solo: Solo, identifier: str = "q-1", **changed: Any) -> Inquiry:
    known = Inquiry(
        protocol=1, device=NAME, id=identifier, what="logs", lines=10, issued=int(date(solo).timestamp()), keyid=""
    )
    return replace(known, **changed)


def ask(device: Solo, asked: Inquiry, by: Any = None, seconds: float = 5) -> list[str]:
    """The ids of all answers that the device has ever sent."""
    device.offer(OURS, encode(sign_inquiry(asked, by or KEYS.director)))
    device.run(device.now + seconds)
    return answers(device)


def answers(device: Solo) -> list[str]:
    return [decode(raw, Answered).id for topic, raw in device.broker.published if topic == topics.answered(NAME)]


def test_a_question_signed_by_the_director_is_answered_on_the_devices_own_topic(device: Solo) -> None:
    assert ask(device, inquiry(device)) == ["q-1"]
    ((_, raw),) = [each for each in device.broker.published if each[0] == topics.answered(NAME)]
    assert decode(raw, Answered).lines == (f"logs of {NAME}",)


@pytest.mark.parametrize(
    ("changed", "by", "code"),
    [
        ({}, signer("stranger"), "signature_invalid"),
        ({"device": "device-2"}, None, "wrong_device"),
        ({"protocol": 9}, None, "protocol_unknown"),
        ({"issued": 1}, None, "desired_expired"),
        ({"issued": 4_000_000_000}, None, "desired_expired"),
    ],
    ids=["a stranger", "for another device", "of another protocol", "kept for years", "from the future"],
)
def test_a_question_from_another_signer_is_refused_and_reported(device: Solo, changed: Any, by: Any, code: str) -> None:
    assert ask(device, inquiry(device, **changed), by) == []
    assert refusals(device)[-1:] == [code]


def test_a_question_that_was_changed_in_transit_is_refused(device: Solo) -> None:
    signed = sign_inquiry(inquiry(device), KEYS.director)
    device.offer(OURS, encode(replace(signed, lines=400)))
    device.run(device.now + 5)
    assert (answers(device), refusals(device)[-1:]) == ([], ["signature_invalid"])


def test_a_question_is_answered_once_and_a_replay_is_not(device: Solo) -> None:
    asked = inquiry(device)
    assert ask(device, asked) == ["q-1"]
    assert ask(device, asked) == ["q-1"]
    assert ask(device, inquiry(device, "q-2"), seconds=1) == ["q-1", "q-2"]
    assert ask(device, asked, seconds=2 * LIFE_S) == ["q-1", "q-2"]


def test_questions_are_limited_so_that_a_device_has_time_for_its_work(device: Solo) -> None:
    for number in range(MAX_BURST + 3):
        ask(device, inquiry(device, f"q-{number}"), seconds=1)
    assert len(answers(device)) == MAX_BURST
    device.run(device.now + BURST_S)
    assert ask(device, inquiry(device, "later"))[-1] == "later"


def test_an_answer_fits_into_a_message_and_names_what_it_leaves_out() -> None:
    lines = tuple(f"{number} " + "ä" * 1_000 for number in range(1_000))
    kept, left_out = fitted(lines, 400)
    assert (len(kept) + left_out, max(map(len, kept))) == (1_000, MAX_LINE_CHARS)
    assert kept[-1].startswith("999 ")
    answer = Answered(protocol=1, device=NAME, boot=1, seq=1, id="q", lines=kept, left_out=left_out)
    assert len(encode(answer)) <= MAX_MESSAGE_BYTES
    assert sum(len(line.encode()) for line in kept) <= MAX_ANSWER_BYTES
    assert fitted(("a", "b", "c"), 2) == (("b", "c"), 1)


CONFIG = """
[device]
name = "pi-1"
[broker]
url = "mqtts://cam:p4ssw0rd@broker:8883"
key_file = "/etc/edgeward/pi-1.key"
[[sensor]]
kind = "stdin"
model = "m"
[sensor.sink]
kind = "webhook"
url = "https://hook.example/x"
token_file = "/etc/edgeward/hook.token"
headers = { X-Site = "headervalue42" }
"""
LINES = [
    ("connecting to mqtts://cam:p4ssw0rd@broker:8883", ("cam", "p4ssw0rd")),
    ("cannot read /etc/edgeward/pi-1.key: no such file", ("pi-1.key",)),
    ("opened /etc/edgeward/hook.token", ("hook.token",)),
    ("X-Site: headervalue42", ("headervalue42",)),
    ("Authorization: Bearer abcdef123456", ("abcdef123456",)),
    ("got 401 for edg_ab12_c0ffee0123456789 from edc_0123456789abcdef", ("c0ffee", "edc_0123")),
    ('{"password": "hunter22", "api_key":"k-12345"}', ("hunter22", "k-12345")),
    ("token=tok-123456&x", ("tok-123456",)),
    ("GET https://other.example/a?sig=aGVsbG8&x=1 failed", ("aGVsbG8",)),
    ("https://user:pw123@other.example/a failed", ("pw123",)),
    ("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----", ("MIIEvQ",)),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", ("eyJzdWIi",)),
]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG)
    return load_config(path)


@pytest.mark.parametrize(("line", "secrets"), LINES)
def test_no_line_contains_a_secret_or_its_path(config: Config, line: str, secrets: tuple[str, ...]) -> None:
    shown = Redactor(secrets_of(config))(line)
    assert HIDDEN in shown
    assert not [secret for secret in secrets if secret in shown], shown


@pytest.mark.parametrize(
    "line",
    ["m is steady, generation 4", "probe of m: ready, load 3.1 ms", f"version {'ab' * 32} arrived",
     "state directory: /var/lib/edgeward-agent is writable", "https://hook.example/x answered 503"],
)  # fmt: skip
def test_lines_without_secrets_stay_as_they_are(config: Config, line: str) -> None:
    assert Redactor(secrets_of(config))(line) == line


@pytest.fixture
def lines(config: Config) -> Iterator[LogLines]:
    made = LogLines(Redactor(secrets_of(config)))
    log = logging.getLogger("edgeward.test-lines")
    log.addHandler(made)
    log.setLevel(logging.INFO)
    yield made
    log.removeHandler(made)


def test_the_newest_lines_are_kept_shortened_and_without_control_characters(lines: LogLines) -> None:
    log = logging.getLogger("edgeward.test-lines")
    for number in range(KEPT_LINES + 5):
        log.info("line %d password=hunter22 %s", number, "x" * 1_000)
    kept = lines.newest()
    assert (len(kept), max(map(len, kept))) == (KEPT_LINES, MAX_LINE_CHARS)
    assert "line 5 " in kept[0]
    assert not [line for line in kept if "hunter22" in line]
    log.info("two %s", "lines\nhere")
    assert lines.newest()[-1].endswith(r"two lines\nhere"), "no message begins a line of its own"


@pytest.mark.parametrize(
    ("doctor", "said"), [(no_doctor, "run edgeward-agent doctor"), (None, "FAIL doctor: TypeError")]
)
def test_a_missing_or_failing_doctor_is_reported_in_the_answer(lines: LogLines, doctor: Any, said: str) -> None:
    found: list[Any] = []
    looks = Looks(lines, doctor, Redactor(()), found.append)
    looks._look(SimpleNamespace(id="q", what="doctor"))  # type: ignore[arg-type]  # in this thread
    assert said in found[0].lines[0]
