"""Sends devices a remote configuration: heartbeats, sensors, captured rows, limits of serving. All of it is audited.

Decides its version, and that it is durable before it is published. The device decides what it allows and whether it
works: it tries a configuration and takes back one that breaks it. Refuses to know HTTP.
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


def tune(state: State, names: Iterable[str], wanted: RemoteConfig, *, actor: str) -> list[DeviceAnswer]:
    """Sends devices a configuration, whose version is ignored; returns the result for each. For fields that are not
    set, the device's own file counts again.
    """
    _refuse_silence(wanted, state.config.fleet.silent_s)
    answers, twins, now = [], [], time.time()
    for device in names:
        try:
            twins.append(_tuned(known_twin(state, device), wanted, now))
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


def _tuned(twin: Twin, wanted: RemoteConfig, now: float) -> Twin:
    said = twin.config_said
    known = (twin.config.version if twin.config else 0, *((said.confirmed, said.trial, said.refused) if said else ()))
    config = replace(wanted, version=next_version(max(known), now))
    return replace(twin, config=config, document_version=twin.next_version(now), issued_at=int(now))


def _words(wanted: RemoteConfig) -> str:
    told = {name: value for name, value in msgspec.to_builtins(wanted).items() if name != "version" and value}
    return msgspec.json.encode(told).decode() if told else "as its own file says"
