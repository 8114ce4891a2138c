"""The words of the first failing row reach the log, the outcome and the views; a sick device causes an event."""

import logging
from decimal import Decimal

import pytest
from msgspec.structs import replace

from contract.desired import TrialPolicy
from contract.errors import Code
from contract.messages import ModelState
from controller.api.fleet_view import fleet_view
from controller.api.views import device_fields
from controller.events.cloudevents import SICK_TYPE, Events, SickData
from controller.fleet.twin import Twin
from controller.reconcile.world import Durable, World
from controller.rollout.model import Strategy, Wave
from edgeward.answers.devices import Device
from edgeward.cli.device import _faults
from firmware_sim.runs import run_once
from firmware_sim.scenario import Release, Scenario

WORDS = "RuntimeError: simulated fault"
TRIAL = TrialPolicy(soak_s=Decimal(30), min_samples=5)


def test_the_error_of_the_first_failing_row_is_shown_once_in_every_view(caplog: pytest.LogCaptureFixture) -> None:
    strategy = Strategy(name="s", waves=(Wave(percent=100),), trial=TRIAL)
    releases = (Release(at_s=60.0, behaviour="good"), Release(at_s=600.0, behaviour="raises", expect="rolled_back"))
    scenario = Scenario(name="t", hours=0.5, devices=2, heal_at_s=0.0, release=releases, strategy=strategy)
    with caplog.at_level(logging.WARNING, logger="edgeward.agent"):
        world = run_once(replace(scenario, heal_at_s=1500.0, sample_every_s=1.0), 1)[1]
    logged = [record.getMessage() for record in caplog.records if WORDS in record.getMessage()]
    assert len(logged) == 2, "once for each device, however many rows failed"
    assert logged[0].endswith(f"v2: health_errors: {WORDS}")
    known = world.controller.world
    for device in world.devices.values():
        outcome = device.record.outcome
        assert outcome is not None
        assert outcome.detail.endswith(f"; the first: {WORDS}")
        fields = device_fields(known.durable.twins[device.name], known, 1800.0)
        (model,) = fields["models"]
        assert next(each for each in model.measured if each.release == 2).faults == {Code.HEALTH_ERRORS: WORDS}


def test_device_show_counts_refusals_by_code_with_their_texts() -> None:
    measured = {
        "release": 2,
        "inferences": 9,
        "errors": 0,
        "accuracy": None,
        "labelled": 0,
        "latency_us_p50": None,
        "latency_us_p95": None,
        "refused": {"value_range": 7},
        "faults": {"value_range": "column 'x': infinity is no measurement"},
        "labels_unusable": 3,
    }
    device = dict.fromkeys(("hardware", "rss_mb", "cpu_ratio", "temperature_c", "swap_stall_ms_max"))
    device |= {"swap_rss_mb": None, "seen_s_ago": None, "bytes_received": 0, "bytes_sent": 0, "bytes_s": 0.0}
    device |= {
        "device": "d",
        "presence": "online",
        "labels": {},
        "document_version": 1,
        "dropped": {},
        "faults": [],
        "expiries": {},
        "sensors": (),
        "sinks": (),
        "health": "well",
        "why": "",
        "quarantined": (),
        "given_labels": {},
        "pins": {},
        "pinned": {},
        "note": None,
        "config": None,
        "config_said": None,
    }
    model = {"model": "m", "desired_release": 2, "state": None, "measured": [measured]}
    assert list(_faults(Device.read({**device, "models": [model]}))) == [
        "m v2: value_range, 7 times: column 'x': infinity is no measurement",
        "m v2: 3 labels were none",
    ]


def test_a_sick_device_is_on_the_page_and_makes_an_event() -> None:
    state = ModelState(model="m", phase="trial", generation=1, code=Code.DEVICE_SICK, detail="stable fails as much")
    world = World(silent_s=90.0, durable=Durable({"d": Twin("d", reported={"m": state}), "e": Twin("e")}))
    (sick,) = fleet_view(world, 0.0).sick
    assert (sick.device, sick.model, sick.detail) == ("d", "m", "stable fails as much")
    events = Events("/edgeward/controller", lambda: "2026-01-01T00:00:00+00:00", first=0)
    listener = events.listen()
    events.tell_sick("d", "m", "stable fails as much")
    event = listener.queue.get_nowait()
    assert (event.type, event.subject, event.data) == (
        SICK_TYPE,
        "d",
        SickData(model="m", detail="stable fails as much"),
    )
