import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.desired import TrialPolicy
from contract.errors import BadInput, Code, EdgewardError
from contract.messages import Ack, Heartbeat, Report, Telemetry
from contract.protocol import MAX_MESSAGE_BYTES
from contract.wire import decode, decode_plain, encode

ACK = b'{"boot":1,"seq":2}'


def refused(raw: bytes) -> BadInput:
    with pytest.raises(BadInput) as caught:
        decode(raw, Ack)
    return caught.value


def test_a_message_is_decoded_as_it_was_encoded() -> None:
    assert decode(encode(Ack(boot=1, seq=2)), Ack) == Ack(boot=1, seq=2)


@pytest.mark.parametrize("end", range(len(ACK)))
def test_a_truncated_message_is_malformed(end: int) -> None:
    assert refused(ACK[:end]).code == Code.MESSAGE_MALFORMED


def test_an_unknown_field_of_a_command_is_named() -> None:
    with pytest.raises(BadInput) as caught:
        decode(b'{"traffic_shere":"0.5"}', TrialPolicy)
    assert (caught.value.code, "traffic_shere" in caught.value.detail) == (Code.MESSAGE_MALFORMED, True)


def test_an_unknown_field_of_a_report_is_ignored() -> None:
    assert decode(b'{"boot":1,"seq":2,"since":3}', Ack) == Ack(boot=1, seq=2)


def test_a_missing_field_is_named() -> None:
    assert "seq" in refused(b'{"boot":1}').detail


def test_the_path_of_a_value_of_a_wrong_type_is_named() -> None:
    assert "$.boot" in refused(b'{"boot":"1","seq":2}').detail


@pytest.mark.parametrize(
    "raw",
    [
        b'{"boot":1,"boot":9,"seq":2}',
        b'{"boot":NaN,"seq":2}',
        b'{"boot":Infinity,"seq":2}',
        b'{"boot":-1,"seq":2}',
        b'{"boot":1e999,"seq":2}',
        b'{"boot":1.5,"seq":2}',
        b'{"boot":1,"seq":2,"later":1e400}',
        b'{"boot":1,"seq":2,"later":"\\ud800"}',
        b"\xff\xfe{}",
        b"[" * 100_000,
        b"null",
        b"",
    ],
    ids=[
        "duplicate key",
        "NaN",
        "infinity",
        "negative",
        "overflow",
        "fraction",
        "huge",
        "half",
        "not utf-8",
        "deep",
        "null",
        "empty",
    ],
)
def test_invalid_json_that_json_libraries_accept_is_malformed(raw: bytes) -> None:
    assert refused(raw).code == Code.MESSAGE_MALFORMED


@pytest.mark.parametrize("number", ["1" * 30, "-" + "9" * 19, str(1 << 64), str((1 << 64) - 1), "-9223372036854775808"])
def test_every_accepted_message_can_be_encoded_again(number: str) -> None:
    raw = b'{"a":%s,"b":"\\ud83d\\ude00"}' % number.encode()
    assert decode_plain(encode(decode_plain(raw))) == decode_plain(raw)


def test_a_message_over_the_limit_is_not_parsed() -> None:
    assert refused(b" " * (MAX_MESSAGE_BYTES + 1)).code == Code.MESSAGE_TOO_LARGE


@given(st.binary(max_size=400))
def test_no_bytes_crash_the_decoder(raw: bytes) -> None:
    for kind in (Ack, Report, Heartbeat, Telemetry):
        try:
            decode(raw, kind)
        except EdgewardError:
            continue


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_json_crashes_the_decoder(value: object) -> None:
    raw = json.dumps(value).encode()
    for kind in (Ack, Report, Heartbeat, Telemetry):
        try:
            decode(raw, kind)
        except BadInput:
            continue
