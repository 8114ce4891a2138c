"""A small made-up fleet one hour after the start of a rollout, with known facts: for pages and tests of answers.

The devices' reports are invented; the controller's own decisions about them and the API are the real ones.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import msgspec
from aiohttp import web

from contract.messages import Heartbeat, ModelState, Report, UpdateOutcome
from controller.api.app import make_app
from controller.clock import stamp_of
from controller.config import Config, StorageConfig
from controller.reconcile.decisions import reconcile
from controller.rollout.model import Rollout, Strategy, Wave
from controller.rollout.plan import Target, expand, plan_members
from controller.state import State, open_state
from tests.controller.page_worlds import digest, heartbeat, steady, version

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC).timestamp()
BEGAN_AT = NOW - 3600.0
ENDED_AT = BEGAN_AT + 600.0
"""When the devices of the first wave had decided."""
TOKEN = "edg_local_token_of_the_questions"
MODEL = "pump-vibration"
ROLLOUT = "r-20261127-080000-5c1e"
FLEET = tuple(f"{site}-{number:03d}" for site in ("aldern", "holm", "ostley") for number in range(1, 5))
CONFIRMED, WENT_BACK, REFUSED = ("aldern-001", "ostley-001"), "aldern-002", "holm-001"
SILENT = ("holm-003", "ostley-002")
SOAK_S = 7200.0
CODES = {
    WENT_BACK: ("health_latency", "p95 118 ms over 1,000 inferences, 100 ms allowed"),
    REFUSED: ("memory_short", "210 MB needed, 160 MB free"),
}
"""Why the new version is not on these two: what they said."""
DEEDS = (
    ("2026-11-25T16:20:00+00:00", "ci", "push", f"{MODEL} v3", "parity passed"),
    ("2026-11-26T08:12:00+00:00", "ci", "push", f"{MODEL} v4", "parity passed"),
    ("2026-11-26T10:40:00+00:00", "mara", "device label", "holm-003", "shift=night"),
    ("2026-11-26T15:05:00+00:00", "jonas", "gate waive", f"{MODEL} v4", "size: fits all devices of today"),
    ("2026-11-27T08:00:00+00:00", "mara", "rollout start", ROLLOUT, f"{MODEL} v4 by staged to 12 devices"),
)


def make(state: State) -> None:
    """Makes the fleet on v3, and the first hour of a rollout of v4."""
    at = BEGAN_AT - 60.0
    reconcile(state.world, [_said(state, device, at) for device in FLEET], at)
    state.save_rollouts(_rollout())
    reconcile(state.world, [], BEGAN_AT + 1.0)
    at = ENDED_AT
    reconcile(state.world, [_said(state, device, at) for device in FLEET], at)
    present = [device for device in FLEET if device not in SILENT]
    for at in (ENDED_AT + 1.0, NOW - 5.0):
        reconcile(state.world, [_said(state, device, at) for device in present], at)
    told = Report(protocol=1, device=WENT_BACK, boot=31, seq=1, state=_became(WENT_BACK, 1))
    state.journal.record(stamp_of(ENDED_AT), history=[(WENT_BACK, msgspec.json.encode(told).decode())])
    for deed in DEEDS:
        state.journal.audit(*deed)
    state.broker = cast("Any", SimpleNamespace(kind="mosquitto", shown="mqtt://127.0.0.1", fault="", files=None))
    state.links = (cast("Any", SimpleNamespace(connected=True)),)


@contextmanager
def served() -> Iterator[str]:
    """The fleet behind a real API, at NOW for as long as this holds; its address."""
    with TemporaryDirectory() as directory, mock.patch.object(time, "time", return_value=NOW):
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        url, end = asyncio.run_coroutine_threadsafe(_serve(Path(directory)), loop).result(30)
        try:
            yield url
        finally:
            asyncio.run_coroutine_threadsafe(end(), loop).result(30)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def _serve(directory: Path) -> tuple[str, Callable[[], Coroutine[Any, Any, None]]]:
    state = open_state(Config(storage=StorageConfig(data_dir=str(directory))))
    make(state)
    runner = web.AppRunner(make_app(state, TOKEN), shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()

    async def end() -> None:
        await runner.cleanup()
        state.close()

    return f"http://127.0.0.1:{runner.addresses[0][1]}", end


def _rollout() -> Rollout:
    first = (*CONFIRMED, WENT_BACK, REFUSED)
    strategy = Strategy(
        name="staged", waves=(Wave(devices=first, soak_s=SOAK_S), Wave(percent=100, soak_s=1800.0)), strata=()
    )
    targets = [Target(device, "") for device in FLEET]
    expanded = expand(strategy, targets)
    members = plan_members(ROLLOUT, targets, expanded, {device: version(3) for device in FLEET})
    return Rollout(
        id=ROLLOUT, model=MODEL, release=4, digest=digest(4), strategy=expanded, members=members, created_by="mara",
        created_at=stamp_of(BEGAN_AT), began_at=BEGAN_AT, wave_began_at=BEGAN_AT,
    )  # fmt: skip


def _said(state: State, device: str, at: float) -> tuple[str, Heartbeat]:
    twin = state.world.durable.twins.get(device)
    told = twin.desired.get(MODEL) if twin is not None else None
    model = _became(device, told.generation) if told is not None and told.release == 4 else steady(MODEL, 3)
    said = heartbeat(device, FLEET.index(device), (model,))
    return device, msgspec.structs.replace(said, seq=int(at))


def _became(device: str, generation: int) -> ModelState:
    """Returns the state of a device with v4 as desired version."""
    code, detail = CODES.get(device, ("", ""))
    result = "rolled_back" if device == WENT_BACK else "rejected" if device == REFUSED else "confirmed"
    ended = UpdateOutcome(generation=generation, version=version(4), result=result, code=code, detail=detail)
    return steady(MODEL, 4 if result == "confirmed" else 3, generation=generation, outcome=ended)
