"""Conversions of models in memory, and the files that they leave: these stay until the tests end."""

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

from contract.blobs import describe
from controller.convert.convert import ConversionLimits, Converted, MadeFile, run_conversion

CHUNK_BYTES = 65536
_FILES = Path(tempfile.mkdtemp(prefix="edgeward-test-conversions-"))
atexit.register(shutil.rmtree, _FILES, ignore_errors=True)


def made_file(data: bytes, chunk_bytes: int = CHUNK_BYTES) -> MadeFile:
    """A file with these bytes, as a conversion leaves it."""
    blob = describe(data, chunk_bytes)
    path = _FILES / blob.sha256
    path.write_bytes(data)
    return MadeFile(path, blob)


async def convert_bytes(
    kind: Literal["skops", "onnx"],
    raw: bytes,
    sample: bytes,
    limits: ConversionLimits,
    variants: Any = (),
    *,
    chunk_bytes: int = CHUNK_BYTES,
    **options: Any,
) -> Converted:
    """Converts a model as a push does; `options` are those of `run_conversion`."""
    given, directory = (Path(tempfile.mkdtemp(dir=_FILES)) for _ in range(2))
    for name, content in (("model", raw), ("sample", sample)):
        (given / name).write_bytes(content)
    files = (given / "model", given / "sample")
    return await run_conversion(kind, *files, limits, variants, directory=directory, chunk_bytes=chunk_bytes, **options)


def form_of(converted: Converted, name: str = "") -> tuple[bytes, bytes]:
    """(model, golden set) of a form."""
    model, golden = (made.path.read_bytes() for made in converted.forms[name])
    return model, golden
