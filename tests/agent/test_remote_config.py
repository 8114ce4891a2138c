"""A remote configuration is durable before it is applied, tried once, and taken back when it breaks the device."""

from datetime import timedelta
from decimal import Decimal
from itertools import count
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from agent.config import Capture, Config, ServingConfig, StdinSensor, check_allowed
from agent.config import Device as Named
from agent.core import remote_config as core
from agent.core.remote_config import LINK_S, MAX_BOOTS, TRIAL_S, ConfigRecord
from agent.flash.store import Store
from contract import topics
from contract.errors import BadInput, Code
from contract.messages import ConfigState, Heartbeat
from contract.remote_config import CaptureRates, RemoteConfig
from contract.trust.documents import sign_desired
from contract.wire import decode
from firmware_sim import power
from firmware_sim.flash import Flash
from firmware_sim.fleet_keys import KEYS, WORLD_BEGAN, signer
from firmware_sim.scripts import publish
from firmware_sim.solo import NAME, Broker, Solo
from tests.agent.attacked_device import MODELS, V1, want

V5, V6 = RemoteConfig(version=5, heartbeat_s=7), RemoteConfig(version=6, heartbeat_s=9)
_numbers = count(2)


def begun() -> ConfigRecord:
    return core.desired(ConfigRecord(), V5)


def test_a_newer_configuration_is_tried_and_a_known_one_changes_nothing() -> None:
    record = begun()
    assert (record.active, record.boots) == (V5, 1)
    assert core.desired(record, V5) is record
    assert core.desired(record, V6).trial == V6
    refused = core.taken_back(record, Code.CONFIG_TAKEN_BACK, "x")
    assert core.desired(refused, V5) is refused, "what was taken back is not tried again"
    assert core.desired(refused, replace(V5, version=4)) is refused


@pytest.mark.parametrize(
    ("tried_s", "offline_s", "fault", "confirmed", "refused"),
    [
        (TRIAL_S - 1, 0.0, "", 0, 0),
        (TRIAL_S, 0.0, "", 5, 0),
        (TRIAL_S, 1.0, "", 0, 0),
        (LINK_S, 1.0, "", 0, 0),
        (LINK_S, LINK_S, "", 0, 5),
        (TRIAL_S, LINK_S, "", 0, 0),
        (1.0, 0.0, "the server has ended", 0, 5),
        (TRIAL_S, 0.0, "the server has ended", 0, 5),
    ],
)
def test_a_trial_of_a_configuration_ends_by_time_link_and_faults(
    tried_s: float, offline_s: float, fault: str, confirmed: int, refused: int
) -> None:
    state = core.judged(begun(), tried_s, offline_s, fault).state
    assert (state.confirmed, state.refused) == (confirmed, refused)
    assert state.trial == (0 if confirmed or refused else 5)
    assert bool(state.code) == bool(refused)


def test_a_configuration_during_whose_trial_the_device_restarts_is_rolled_back_to_the_confirmed_one() -> None:
    record = core.desired(ConfigRecord(confirmed=V5), V6)
    for _ in range(MAX_BOOTS - 1):
        record = core.booted(record)
        assert record.active == V6
    record = core.booted(record)
    assert (record.active, record.refused, record.code) == (V5, 6, "boot_budget_spent")
    assert core.booted(record) is record


OWN = Config(
    device=Named(name="d"),
    sensor=(StdinSensor(model="m"),),
    capture=(Capture(model="m", remove=("name",)),),
    serving=ServingConfig(max_connections=10, max_body_bytes=4096),
)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"paused_sensors": ("serial-1",)}, "no sensor serial-1"),
        ({"capture": {"other": CaptureRates(rate=Decimal(1))}}, "captures nothing of other"),
        ({"max_connections": 11}, "allows 10"),
        ({"max_body_bytes": 8192}, "allows 4096"),
    ],
)
def test_no_value_exceeds_what_the_devices_own_file_allows(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        check_allowed(RemoteConfig(version=1, **asked), OWN)
    within = {"paused_sensors": ("stdin-1",), "capture": {"m": CaptureRates(rate=Decimal(1))}, "max_connections": 10}
    check_allowed(RemoteConfig(version=1, **within), OWN)


def document(wanted: RemoteConfig, by: Any = None) -> tuple[str, bytes]:
    raw = sign_desired(
        NAME, (want(1, V1.manifest, 1),), version=next(_numbers), issued=WORLD_BEGAN,
        expires=WORLD_BEGAN + timedelta(days=7), signer=by or KEYS.director, config=wanted,
    )  # fmt: skip
    return topics.desired(NAME), raw


def solo(*cuts: int) -> Solo:
    flash = Flash(Random(1), power.Power(power.at(*cuts)))
    made = Solo(flash, Broker(), MODELS)
    publish(made, 1, 1, MODELS)
    made.run(120)
    return made


def states(device: Solo) -> list[ConfigState]:
    raws = [raw for topic, raw in device.broker.published if topic == topics.heartbeat(NAME)]
    return [each for raw in raws if (each := decode(raw, Heartbeat).config) is not None]


def try_out(device: Solo, wanted: RemoteConfig, seconds: float = 2 * TRIAL_S, by: Any = None) -> ConfigRecord:
    device.offer(*document(wanted, by))
    device.run(device.now + seconds)
    return Store(device.flash).load_config()


def test_a_signed_configuration_is_tried_confirmed_and_reported() -> None:
    device = solo()
    record = try_out(device, V5)
    assert (record.confirmed, record.trial) == (V5, None)
    assert device.device.tuned.applied[-1] == (5, True)
    assert states(device)[0].trial == 5
    assert states(device)[-1].confirmed == 5
    before = len(states(device))
    device.run(device.now + 70)
    assert len(states(device)) - before >= 9, "a heartbeat every 7 s"


def test_a_configuration_not_signed_by_the_director_changes_nothing() -> None:
    device = solo()
    assert try_out(device, V5, by=signer("stranger")) == ConfigRecord()


@pytest.mark.parametrize("how", ["breaks_on", "raises_on"])
def test_a_configuration_that_breaks_the_device_is_rolled_back_and_reported(how: str) -> None:
    device = solo()
    try_out(device, V5)
    setattr(device.device.tuned, how, frozenset({6}))
    record = try_out(device, V6)
    assert (record.confirmed, record.trial, record.refused, record.code) == (V5, None, 6, "config_taken_back")
    assert device.device.tuned.applied[-1] == (5, True)
    assert (states(device)[-1].refused, states(device)[-1].code) == (6, "config_taken_back")
    assert device.device.serving == V1.manifest.artifact.sha256
