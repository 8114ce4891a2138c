"""Probes a candidate of a search on a device: the broker holds its bytes for a while, and a signed question names them.

Decides which device of a class is asked, and that a candidate is never registered or rolled out. Every probe
is audited before it is requested. Refuses to know HTTP, and what a search does with the numbers.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from contract.blobs import Blob
from contract.errors import BadInput, Code, EdgewardError, WorldError
from contract.inquiries import Probed
from contract.manifest import Manifest
from contract.wire import Message
from controller.broker.messages import chunk_messages, retraction
from controller.fleet.selection import select
from controller.state import State
from controller.verbs.inquiries import ask

PROBE_S = 120.0
"""Seconds for an answer: a megabyte over a slow link, and the start of a child process on a small device."""
MAX_ASKED = 3
"""The most devices of a class that are asked, one after the other, until one is not busy."""
MAX_LENT_BYTES = 64 << 20
"""The limit of all candidates that the broker holds at a time."""


class Where(Message, frozen=True):
    """The device on which a candidate is probed: one by its name, or any with all of these labels."""

    device: str = ""
    labels: dict[str, str] = {}
    max_bytes: int | None = None
    """A candidate whose ONNX form is larger is not sent to any device."""


class ProbedOn(Message, frozen=True):
    """The measurements of a candidate on a device, or why there are none."""

    device: str
    code: str
    """Empty if the probe succeeded."""
    detail: str
    latency_us_p50: float = 0.0
    load_ms: float = 0.0
    memory_mb: float = 0.0
    sandbox: str = ""


async def probe_candidate(
    state: State, model: str, manifest: Manifest, files: Mapping[str, Path], where: Where, *, actor: str
) -> ProbedOn:
    """Returns the measurements of the first device that is not busy. `files`: of artifact and golden set, by digest.

    BadInput `unknown_device`, `selector_empty`; a fault of the device or of the candidate is in the answer.
    """
    length = manifest.artifact.length
    if where.max_bytes is not None and length > where.max_bytes:
        words = f"{length} bytes, limit {where.max_bytes}: it was sent to no device"
        return ProbedOn(device="", code=Code.CONVERSION_LIMIT, detail=words)
    named = [where.device] if where.device else _class_of(state, where.labels)
    refused: ProbedOn | None = None
    with _lent(state, (manifest.golden.blob, manifest.artifact), files):
        for device in named[:MAX_ASKED]:
            refused = await _asked(state, device, model, manifest, actor=actor)
            if refused.code not in (Code.BUSY, Code.DEVICE_UNREACHABLE):
                return refused
    assert refused is not None
    return refused


async def _asked(state: State, device: str, model: str, manifest: Manifest, *, actor: str) -> ProbedOn:
    words = f"a candidate for {model}: {manifest.artifact.length} bytes, {manifest.artifact.sha256[:12]}"
    try:
        answer = await ask(state, device, "probe", 1, actor=actor, candidate=manifest, wait_s=PROBE_S, words=words)
    except EdgewardError as error:
        if error.code not in (Code.BUSY, Code.DEVICE_UNREACHABLE):
            raise
        return ProbedOn(device=device, code=error.code, detail=error.detail)
    found = answer.probed or Probed(code=Code.BUSY, detail="its agent is too old for candidates")
    return ProbedOn(
        device=device, code=found.code, detail=found.detail, latency_us_p50=found.latency_us_p50,
        load_ms=found.load_ms, memory_mb=found.memory_mb, sandbox=found.sandbox,
    )  # fmt: skip


def _class_of(state: State, labels: Mapping[str, str]) -> list[str]:
    """Returns the devices of a class, first the idle ones: online, and without a running rollout."""
    if not labels:
        raise BadInput(Code.REQUEST_INVALID, "name a device, or labels of a class of devices")
    found = select(state.world.durable.twins.values(), labels)
    return sorted(found, key=lambda device: (not _is_idle(state, device), device))


def _is_idle(state: State, device: str) -> bool:
    twin = state.world.durable.twins[device]
    online = twin.presence(time.time(), state.world.silent_s) == "online"
    return online and all(each.phase == "steady" and each.trial is None for each in twin.reported.values())


@contextmanager
def _lent(state: State, blobs: tuple[Blob, ...], files: Mapping[str, Path]) -> Iterator[None]:
    """The broker holds these blobs until the block ends. After a crash the controller removes them at its next start.

    WorldError `busy` beyond MAX_LENT_BYTES; `broker_unreachable`.
    """
    if not state.connected:
        raise WorldError(Code.BROKER_UNREACHABLE, "the controller has no connection to the broker: edgeward status")
    published = state.records.published()
    ours = [blob for blob in blobs if blob.sha256 not in published]
    if sum(blob.length for blob in (*state.lent.values(), *ours)) > MAX_LENT_BYTES:
        raise WorldError(Code.BUSY, f"candidates of {MAX_LENT_BYTES >> 20} MB are being probed: try again")
    state.lent.update({blob.sha256: blob for blob in ours})
    state.records.save_published(ours)
    try:
        for blob in ours:
            state.links[0].retain(chunk_messages(blob, files[blob.sha256].read_bytes()))
        yield
    finally:
        for blob in ours:
            state.lent.pop(blob.sha256, None)
            if state.connected:
                state.links[0].retain(retraction(blob))
                state.records.save_published([], taken_back=[blob.sha256])
