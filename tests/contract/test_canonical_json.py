"""The bytes that are signed: the fast canonical JSON against the slow one of securesystemslib, on random documents."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tuf.api.serialization import SerializationError
from tuf.api.serialization.json import CanonicalJSONSerializer

from contract.trust.documents import _CanonicalJson

FAST, SLOW = _CanonicalJson(), CanonicalJSONSerializer()


class Plain:
    """A replacement for a signed part: a serializer needs only its plain form."""

    def __init__(self, plain: Any) -> None:
        self.plain = plain

    def to_dict(self) -> Any:
        return self.plain


def written(serializer: CanonicalJSONSerializer, plain: Any) -> bytes | None:
    """Returns the bytes; None for a document that cannot be signed. A lone surrogate is a ValueError when it is
    encoded.
    """
    try:
        return serializer.serialize(Plain(plain))  # type: ignore[arg-type]
    except (SerializationError, UnicodeEncodeError):
        return None


any_character = st.characters(exclude_categories=())
texts = st.one_of(
    st.text(any_character, max_size=8),
    st.sampled_from(
        ["", '"', "\\", '\\"', "\n", "\x00", "\x7f", "\u2028", "é", "e\u0301", "😀", "</a>", "NaN", ":1.5"]
    ),
)
integers = st.one_of(st.integers(-3, 3), st.integers(), st.sampled_from([2**53, -(2**63), 10**40]))
scalars = st.one_of(st.none(), st.booleans(), integers, texts)
documents = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=20,
)
floats = st.floats()


@given(documents)
@example({"b": 1, "a": [{}, [], "", None, True]})
@example({"é": 1, "z": 2, "😀": 3, "\uffff": 4})
@example(["\\u0041", "\\", "/", "\t", "\x1f"])
def test_the_fast_canonical_json_equals_the_slow_one(plain: Any) -> None:
    assert written(FAST, plain) == written(SLOW, plain)


@given(st.one_of(st.lists(st.one_of(scalars, floats)), st.dictionaries(texts, st.one_of(scalars, floats))))
@example({"a": 1.0})
@example([1, -1.5])
@example([0, 1e300])
@example({"a": float("nan")})
@example([float("-inf")])
def test_input_that_the_slow_encoder_refuses_is_refused_by_the_fast_one(plain: Any) -> None:
    assert written(FAST, plain) == written(SLOW, plain)


@given(documents)
def test_equal_documents_give_equal_bytes_in_any_order_of_their_keys(plain: Any) -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(each) for each in value] if isinstance(value, list) else value

    assert written(FAST, plain) == written(FAST, turned(plain))


def test_the_slow_encoder_is_not_used_if_nothing_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise AssertionError("asked")

    monkeypatch.setattr(CanonicalJSONSerializer, "serialize", refuse)
    plain = {"version": 3, "names": ["é", "v1.5", "IN", "No"], "_type": "targets", "expires": "2026-01-01T00:00:00Z"}
    assert json.loads(FAST.serialize(Plain(plain))) == plain  # type: ignore[arg-type]
    for escaped in ('"', "\\", "\n"):
        with pytest.raises(AssertionError):
            FAST.serialize(Plain({"a": escaped}))  # type: ignore[arg-type]
