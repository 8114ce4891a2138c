"""A conversion that is made once in each worker, for tests that need a version and do not test how it is converted."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from controller.convert.convert import ConversionLimits, Converted, run_conversion
from controller.convert.starter import Starter
from controller.verbs import push

_kept: dict[Any, Converted] = {}


async def _convert_once(
    kind: Any,
    model: Path,
    sample: Path,
    limits: ConversionLimits,
    variants: tuple[Any, ...] = (),
    *,
    rows_waived: bool = False,
    starter: Starter | None = None,
) -> Converted:
    """Converts in the real child what was not pushed before, byte for byte. A refusal is not kept."""
    digests = tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in (model, sample))
    key = (kind, digests, repr(limits), variants, rows_waived)
    if key not in _kept:
        _kept[key] = await run_conversion(
            kind, model, sample, limits, variants, rows_waived=rows_waived, starter=starter
        )
    return _kept[key]


@pytest.fixture
def conversions_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """While this fixture is in use, the same push is converted once. test_conversion and its like do without it."""
    monkeypatch.setattr(push, "run_conversion", _convert_once)
