"""Messages of newer or faulty agents: known parts are read, and of a bad part only that part is lost."""

import json
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from contract.captured import Captured, CapturedRow
from contract.errors import BadInput
from contract.keys import is_signed_by, signer_of
from contract.messages import Ack, Heartbeat, ModelInterval, Presence, Report, Telemetry
from contract.said import decode_said
from contract.signatures import encoding, sign_message, signed_as_sent
from contract.wire import encode
from tests.contract.wire_examples import HEAD, V2, examples

ROW = CapturedRow(at=1.0, model="m", release=1, why="hard", inputs={"x": 1.0}, value="1")
KINDS: dict[str, type] = {
    "heartbeat": Heartbeat,
    "report_state": Report,
    "report_refusal": Report,
    "telemetry": Telemetry,
    "presence": Presence,
    "ack": Ack,
}
TABLES = {
    "labels",
    "pinned",
    "dropped",
    "faults",
    "expiries",
    "erased",
    "breaches",
    "groups",
    "predictions",
    "features",
    "inputs",
    "metrics",
    "refused",
}
"""Keys whose value is a table: what is in it are entries, not fields."""
SEEDS = 200


def messages() -> list[tuple[type, bytes]]:
    found = [(KINDS[name], raw) for name, raw in examples().items() if name in KINDS]
    return [*found, (Captured, encode(Captured(**HEAD, rows=(ROW,))))]


def newer(value: Any, random: Random, key: str = "") -> Any:
    """The message with a few keys that only a newer version knows, at any depth."""
    if isinstance(value, dict):
        grown = {name: newer(each, random, name) for name, each in value.items()}
        if key not in TABLES and random.random() < 0.7:
            grown[f"since_{random.randrange(9)}"] = random.choice([None, 1, "x", [1], {"deep": {"er": []}}])
        return grown
    return [newer(each, random, key) for each in value] if isinstance(value, list) else value


def test_every_message_of_a_device_has_an_example() -> None:
    assert {kind for kind, _ in messages()} >= {Heartbeat, Report, Telemetry, Captured}


@pytest.mark.parametrize(("kind", "raw"), messages(), ids=lambda each: getattr(each, "__name__", ""))
def test_known_fields_of_a_message_from_a_newer_version_are_read(kind: type, raw: bytes) -> None:
    known, _ = decode_said(raw, kind)
    for seed in range(SEEDS):
        said = json.dumps(newer(json.loads(raw), Random(seed))).encode()
        assert decode_said(said, kind) == (known, 0), said


@pytest.mark.parametrize(("kind", "raw"), messages(), ids=lambda each: getattr(each, "__name__", ""))
def test_a_wrong_value_loses_its_part_or_its_message_and_raises_nothing_else(kind: type, raw: bytes) -> None:
    for seed in range(SEEDS):
        random = Random(seed)
        plain = json.loads(raw)
        inner = plain
        while True:
            name = random.choice(list(inner)) if isinstance(inner, dict) else random.randrange(len(inner))
            if not isinstance(inner[name], (dict, list)) or not inner[name] or random.random() < 0.3:
                inner[name] = random.choice([None, -1, 1e300, "x" * 999, [], {}, [None], "warming"])
                break
            inner = inner[name]
        try:
            message, dropped = decode_said(json.dumps(plain).encode(), kind)
        except BadInput:
            continue
        assert isinstance(message, kind)
        assert dropped >= 0


def interval(inferences: int) -> ModelInterval:
    return ModelInterval(model="m", version=V2, inferences=inferences, errors=0)


def test_one_interval_with_a_null_loses_that_interval_and_not_the_message() -> None:
    plain = json.loads(encode(Telemetry(**HEAD, interval_s=1.0, intervals=(interval(1), interval(2), interval(3)))))
    plain["intervals"][1]["errors"] = None
    message, dropped = decode_said(json.dumps(plain).encode(), Telemetry)
    assert ([each.inferences for each in message.intervals], dropped) == ([1, 3], 1)


def test_an_invalid_optional_field_is_dropped_and_an_invalid_required_field_refuses_the_message() -> None:
    plain = json.loads(encode(Telemetry(**HEAD, interval_s=1.0, rss_mb=5.0)))
    message, dropped = decode_said(json.dumps(plain | {"rss_mb": None}).encode(), Telemetry)
    assert (message.rss_mb, message.interval_s, dropped) == (0.0, 1.0, 1)
    with pytest.raises(BadInput, match="seq"):
        decode_said(json.dumps(plain | {"seq": None}).encode(), Telemetry)
    with pytest.raises(BadInput):
        decode_said(b"[]", Telemetry)


def test_an_unknown_outcome_of_an_update_does_not_hide_the_rest_of_the_report() -> None:
    plain = json.loads(dict(messages())[Heartbeat])
    plain["models"][0]["outcome"]["result"] = "postponed"
    message, dropped = decode_said(json.dumps(plain).encode(), Heartbeat)
    assert (message.models[0].outcome, message.models[0].stable, dropped) == (None, V2, 1)


def test_a_signature_covers_unknown_keys_of_a_newer_version() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    sign = signer_of(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    signed = sign_message(Telemetry(**HEAD, interval_s=1.0), sign)
    assert signed_as_sent(encode(signed), signed.signature) == encoding(Telemetry(**HEAD, interval_s=1.0))

    body = b'{"protocol":1,"device":"cam-0001","boot":3,"seq":17,"interval_s":1.0,"since":2,"signature":""}'
    kind = b"application/vnd.edgeward.message+json"
    signature = sign(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body))
    raw = body.replace(b'"signature":""', b'"signature":"%s"' % signature.encode())
    message, _ = decode_said(raw, Telemetry)
    assert is_signed_by(message, [public], raw)
    assert not is_signed_by(message, [public], raw.replace(b'"since":2', b'"since":3')), "not one byte may change"
    assert not is_signed_by(message, [public]), "as this version would say it, it was never signed"
    with pytest.raises(ValueError, match="once"):
        signed_as_sent(raw + raw, message.signature)


def test_every_text_of_a_message_has_a_maximum_length() -> None:
    long = "x" * 200_000
    for kind, raw in messages():
        if kind is Captured:
            continue
        for where in texts(json.loads(raw)):
            plain = json.loads(raw)
            inner = plain
            for step in where[:-1]:
                inner = inner[step]
            inner[where[-1]] = long
            try:
                message, _ = decode_said(json.dumps(plain).encode(), kind)
            except BadInput:
                continue
            assert len(encode(message)) < len(long), where


def texts(value: Any, where: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all texts."""
    if isinstance(value, str):
        return [where]
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, each in pairs for found in texts(each, (*where, key))]
