"""Sends devices a remote configuration: heartbeats, sensors, captured rows, limits of serving. All of it is audited.

Decides its version, and that it is durable before it is published. The device decides what it allows and whether it
works: it tries a configuration and returns to the former one if the new one breaks it. Refuses to know HTTP.
"""

import time
from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from contract.errors import BadInput, Code
from contract.remote_config import RemoteConfig
from contract.versions import next_version
from controller.clock import stamp
from controller.fleet.twin import Twin
from controller.reconcile.world import put_twin
from controller.state import State
from controller.verbs.device_labels import MAX_AUDIT_CHARS, known_twin
from controller.verbs.device_lives import DeviceAnswer, refused

MAX_NAMED_CHARS = 300
"""The most characters of the names that a refusal lists."""


def tune(state: State, names: Iterable[str], wanted: RemoteConfig, *, actor: str) -> list[DeviceAnswer]:
    """Sends devices a configuration, whose version is ignored; returns the result for each. For fields that are not
    set, the device's own file is used again.
    """
    _refuse_silence(wanted, state.config.fleet.silent_s)
    answers, twins, now = [], [], time.time()
    for device in names:
        try:
            twin = known_twin(state, device)
            _refuse_unknown(state, twin, wanted)
            twins.append(_tuned(twin, wanted, now))
            answers.append(DeviceAnswer(device=device))
        except BadInput as error:
            answers.append(refused(device, error))
    if not twins:
        return answers
    state.records.save_twins(twins)
    words = _words(wanted)[:MAX_AUDIT_CHARS]
    for twin in twins:
        put_twin(state.world, twin)
        state.world.caches.reordered.add(twin.device)
        state.journal.audit(stamp(), actor, "device tune", twin.device, words)
    state.poke()
    return answers


def _refuse_silence(wanted: RemoteConfig, silent_s: float) -> None:
    """Raises BadInput `config_invalid` for heartbeats so far apart that a device would count as silent between two of
    them.
    """
    if wanted.heartbeat_s is not None and float(wanted.heartbeat_s) > silent_s / 2:
        raise BadInput(
            Code.CONFIG_INVALID,
            f"heartbeat_s {wanted.heartbeat_s}: a device counts as silent after {silent_s:g} s (fleet.silent_s), and "
            f"one heartbeat may be lost: at most {silent_s / 2:g} s",
        )


def _refuse_unknown(state: State, twin: Twin, wanted: RemoteConfig) -> None:
    """BadInput `config_invalid` for sensors that the device does not have, and for models that do not exist, with
    those that exist. The sensors of a device without any report are unknown and not checked.
    """
    sensors = sorted(sensor.name for sensor in twin.sensors)
    models = sorted({*state.registry.models(), *twin.reported})
    if twin.hardware is not None and (strange := sorted(set(wanted.paused_sensors) - set(sensors))):
        raise _unknown(f"{twin.device} has no sensor", strange[0], sensors)
    if strange := sorted(set(wanted.capture) - set(models)):
        raise _unknown("there is no model", strange[0], models)


def _unknown(words: str, name: str, there: list[str]) -> BadInput:
    known = ", ".join(there)[:MAX_NAMED_CHARS] or "none"
    return BadInput(Code.CONFIG_INVALID, f"{words} {name[:64]!r}; there are: {known}")


def _tuned(twin: Twin, wanted: RemoteConfig, now: float) -> Twin:
    said = twin.config_said
    known = (twin.config.version if twin.config else 0, *((said.confirmed, said.trial, said.refused) if said else ()))
    config = replace(wanted, version=next_version(max(known), now))
    return replace(twin, config=config, document_version=twin.next_version(now), issued_at=int(now))


def _words(wanted: RemoteConfig) -> str:
    told = {name: value for name, value in msgspec.to_builtins(wanted).items() if name != "version" and value}
    return msgspec.json.encode(told).decode() if told else "as its own file says"
