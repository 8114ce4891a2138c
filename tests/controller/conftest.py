"""A conversion that is made once in each worker, for tests that need a version and do not test its conversion."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from controller.convert.convert import ConversionLimits, Converted
from controller.convert.starter import Starter
from controller.convert.under_way import UnderWay
from controller.verbs import push
from tests.controller.conversions import convert_bytes

_kept: dict[Any, Converted] = {}


async def _convert_once(
    kind: Any,
    model: Path,
    sample: Path,
    limits: ConversionLimits,
    variants: tuple[Any, ...] = (),
    *,
    directory: Path,
    chunk_bytes: int,
    rows_waived: bool = False,
    starter: Starter | None = None,
    push: UnderWay | None = None,
) -> Converted:
    """Converts in the real child what was not pushed before, byte for byte. A refusal is not kept."""
    given = model.read_bytes(), sample.read_bytes()
    digests = tuple(hashlib.sha256(content).hexdigest() for content in given)
    key = (kind, digests, repr(limits), variants, chunk_bytes, rows_waived)
    if key not in _kept:
        _kept[key] = await convert_bytes(
            kind, *given, limits, variants, chunk_bytes=chunk_bytes, rows_waived=rows_waived, starter=starter, push=push
        )
    return _kept[key]


@pytest.fixture
def conversions_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """While this fixture is in use, the same push is converted once. test_conversion and similar tests do
    without it.
    """
    monkeypatch.setattr(push, "run_conversion", _convert_once)
