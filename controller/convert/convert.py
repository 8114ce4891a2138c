"""Runs the children of a conversion, one after the other, and reads their results.

Decides that the child that has read the foreign model measures nothing: a second child loads the result of the first.
"""

import asyncio
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contract.blobs import Blob, describe_file
from contract.errors import BadInput, Code
from contract.wire import decode, encode
from controller.convert import request as files
from controller.convert.children import run_child
from controller.convert.memory import memory_for
from controller.convert.request import Conversion, ConvertedForm, Fault, Measured, ModelKind, Request, VariantName
from controller.convert.scratch import open_file, read_file
from controller.convert.starter import Starter, convert_fresh
from controller.convert.under_way import Step, UnderWay
from controller.health import FREE_BYTES_WANTED

MEASURE_TIMEOUT_S = 120
PRECISION_PART = 0.3
"""The fraction of the time limit for each of three precisions: the best verdict so far is kept."""


@dataclass(frozen=True, slots=True)
class ConversionLimits:
    """The limits of a conversion, the foreign types that an operator trusts, and whether it must be fully confined."""

    timeout_s: float
    memory_mb: int
    """Memory in MiB for a small model; `memory_for` gives that of a large one. A conversion may also write this much to
    disk, because all that it writes was in its memory."""
    trusted_types: Sequence[str] = ()
    require_sandbox: bool = True


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A file that a conversion has made or was given, synced to the disk, and the digests of its bytes."""

    path: Path
    blob: Blob


@dataclass(frozen=True, slots=True)
class Converted:
    """A model that onnxruntime runs, its golden set, and the evidence."""

    forms: dict[str, tuple[MadeFile, MadeFile]]
    """(model, golden set) by the form's name; "" is the full form. The model may be the pushed file."""
    answer: Conversion


async def run_conversion(
    kind: ModelKind,
    model: Path,
    sample: Path,
    limits: ConversionLimits,
    variants: tuple[VariantName, ...] = (),
    *,
    directory: Path,
    chunk_bytes: int,
    rows_waived: bool = False,
    starter: Starter | None = None,
    push: UnderWay | None = None,
) -> Converted:
    """Converts the file `model` in child processes, which write their files to `directory`, which must be empty.

    `chunk_bytes`: how the made files are cut. `rows_waived`: few distinct rows of the sample are enough. `starter`:
    its child converts; None: a new process. `push` gets the present step.

    BadInput with the child's code, or `conversion_limit` if it was killed or ran too long.
    """
    model_bytes = model.stat().st_size
    request = Request(
        kind=kind,
        model=str(model.resolve()),
        trusted_types=tuple(limits.trusted_types),
        memory_mb=memory_for(model_bytes, limits.memory_mb),
        cpu_s=math.ceil(limits.timeout_s) * (os.cpu_count() or 1),
        variants=variants,
        require_sandbox=limits.require_sandbox,
        precision_s=PRECISION_PART * limits.timeout_s,
        rows_waived=rows_waived,
    )
    (directory / files.REQUEST).write_bytes(encode(request))
    await asyncio.to_thread(shutil.copyfile, sample, directory / files.SAMPLE)
    allowed_mb = _allowed_mb(directory, request.memory_mb)
    convert = convert_fresh if starter is None else starter.convert
    # in parallel with the child: for 1 GiB this takes two seconds
    given = asyncio.create_task(_described(model, model_bytes // 2**20 + 1, chunk_bytes)) if kind == "onnx" else None
    try:
        _enter(push, "read", directory)
        await convert(directory, timeout_s=limits.timeout_s, allowed_mb=allowed_mb)
        _enter(push, "measure", directory)
        return await _collect(directory, request, allowed_mb, given, chunk_bytes)
    finally:
        if given is not None:
            given.cancel()
            await asyncio.gather(given, return_exceptions=True)  # the caller gets the refusal and not this error


def _enter(push: UnderWay | None, step: Step, directory: Path) -> None:
    if push is not None:
        push.directory = directory
        push.enter(step)


def _allowed_mb(directory: Path, memory_mb: int) -> int:
    """Returns the MiB that `directory` may hold: as much as a child may hold in memory, but none of the space that must
    stay free.
    """
    free_mb = (shutil.disk_usage(directory).free - FREE_BYTES_WANTED) // 2**20
    given_mb = (directory / files.SAMPLE).stat().st_size // 2**20 + 1
    return given_mb + max(0, min(memory_mb, free_mb))


async def _described(path: Path, allowed_mb: int, chunk_bytes: int) -> MadeFile:
    """Returns a file with its digests, once it is synced. BadInput as `scratch.open_file`."""

    def describe() -> MadeFile:
        with open_file(path, allowed_mb) as file:
            os.fsync(file.fileno())
            return MadeFile(path, describe_file(file, chunk_bytes))

    return await asyncio.to_thread(describe)


async def _collect(
    directory: Path, request: Request, allowed_mb: int, given: asyncio.Task[MadeFile] | None, chunk_bytes: int
) -> Converted:
    if (directory / files.FAULT).exists():
        fault = decode(read_file(directory / files.FAULT, 1), Fault)
        raise BadInput(fault.code, fault.detail)
    answer = decode(read_file(directory / files.ANSWER, files.MAX_ANSWER_MB), Conversion)
    if foreign := set(answer.variants) - set(request.variants):  # files are found by these names
        raise BadInput(Code.CONVERSION_FAILED, f"the conversion made forms that were not requested: {foreign!r:.100}")
    forms, measured = {}, {}
    for name, form in (("", answer.form), *answer.variants.items()):
        model, golden = (directory / file for file in files.form_files(name))
        as_given = not name and answer.as_pushed and given is not None
        model = Path(request.model) if as_given else model
        measured[name] = await _measured(form, (model, golden), request.memory_mb, allowed_mb, directory)
        described = given if as_given and given is not None else _described(model, request.memory_mb, chunk_bytes)
        forms[name] = (await described, await _described(golden, request.memory_mb, chunk_bytes))
    full = measured.pop("")
    return Converted(forms, msgspec.structs.replace(answer, form=full, variants=measured))


async def _measured(
    form: ConvertedForm, made: tuple[Path, Path], memory_mb: int, allowed_mb: int, directory: Path
) -> ConvertedForm:
    """Returns the form with the time and memory of loading it and of answering its golden set.

    BadInput `conversion_limit` if it does not load or answer.
    """
    arguments = ("controller.convert.measure", *map(str, made), str(memory_mb), str(MEASURE_TIMEOUT_S))
    said = await run_child(*arguments, directory=directory, timeout_s=MEASURE_TIMEOUT_S, allowed_mb=allowed_mb)
    measured = decode(said, Measured)
    if measured.fault:
        raise BadInput(Code.CONVERSION_LIMIT, f"the converted model does not load or run: {measured.fault}"[:400])
    return msgspec.structs.replace(form, load_s=measured.load_s, load_mb=measured.load_mb)
