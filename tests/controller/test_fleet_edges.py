"""Strata, which form fits which device, selection, and what twins fold: at the edges."""

from typing import Any

import pytest
from msgspec.structs import replace

from contract.blobs import describe
from contract.desired import TrialPolicy
from contract.errors import BadInput, Code
from contract.manifest import ModelLimits, Runtime, Variant
from contract.messages import Hardware, Heartbeat, ModelState, Presence, Report, Telemetry, VersionRef
from controller.fleet.boots import Boot, Boots
from controller.fleet.fit import Form, choose_form, forms_of, stratum_of, why_unfit
from controller.fleet.neighbours import MAX_LOOKED_AT, MAX_NEIGHBOURS, neighbours_by_label, neighbours_of
from controller.fleet.selection import select
from controller.fleet.traffic import Traffic
from controller.fleet.twin import DOCUMENT_LIFE_S, Assigned, Twin, fold_heartbeat, fold_presence, fold_report
from firmware_sim.models import make_model

HARDWARE = Hardware(
    machine="aarch64",
    cpus=4,
    memory_mb=512,
    python="3.11",
    onnxruntime="1.32.0",
    agent="0.1.0",
    sandbox="landlock+seccomp",
)
FORM = Form(
    name="",
    digest="n" * 64,
    artifact_bytes=1,
    golden_bytes=1,
    release=2,
    hardware=("aarch64",),
    memory_mb=256,
    opset=18,
    ml_opset=3,
)
V1 = VersionRef(release=1, digest="o" * 64)
POLICY = TrialPolicy()


def twin(name: str = "d1", hardware: Hardware | None = HARDWARE, **fields: Any) -> Twin:
    return Twin(name, hardware=hardware, **fields)


def state(model: str = "m", stable: VersionRef | None = V1) -> ModelState:
    return ModelState(model=model, phase="steady", generation=1, stable=stable)


# Strata.


def test_a_kind_is_the_reported_hardware_or_a_label_of_that_name() -> None:
    keys = ("machine", "memory", "cpus", "runtime", "site")
    assert stratum_of(twin(labels={"site": "north"}), keys) == "aarch64/512MB/4-cpus/onnxruntime-1.32.0/north"
    assert stratum_of(twin(), ("machine", "site")) == "aarch64/unknown"
    assert stratum_of(twin(labels={"memory": "small"}), ("memory", "machine")) == "small/aarch64"
    assert stratum_of(twin(hardware=None, labels={"site": "north"}), ("site", "machine")) == "north/unknown"
    assert stratum_of(twin(), ()) == ""


@pytest.mark.parametrize(
    ("memory_mb", "name"),
    [
        (64, "128MB"),
        (192, "128MB"),
        (193, "256MB"),
        (384, "256MB"),
        (385, "512MB"),
        (921, "1024MB"),
        (3800, "4096MB"),
        (7900, "8192MB"),
    ],
)
def test_memory_is_named_by_the_power_of_two_of_which_it_fills_three_quarters(memory_mb: int, name: str) -> None:
    assert stratum_of(twin(hardware=replace(HARDWARE, memory_mb=memory_mb)), ("memory",)) == name


# Which form fits.


def unfit(device: Twin, form: Form = FORM, policy: TrialPolicy = POLICY, quarantined: Any = None) -> str:
    found = why_unfit(device, "m", form, policy, quarantined or {})
    return found.words if found is not None else ""


def on(**changes: Any) -> Twin:
    return twin(hardware=replace(HARDWARE, **changes))


def test_a_device_without_reported_hardware_is_tested_by_its_probe() -> None:
    assert unfit(twin(hardware=None)) == ""
    assert unfit(twin()) == ""


def test_a_variant_may_use_half_of_the_memory() -> None:
    assert unfit(on(memory_mb=512)) == ""
    assert "511 MB" in unfit(on(memory_mb=511))


def test_a_variant_for_other_machines_does_not_fit() -> None:
    assert "armv7l" in unfit(on(machine="armv7l"))
    assert unfit(on(machine="armv7l"), replace(FORM, hardware=("aarch64", "armv7l"))) == ""


def test_a_full_sandbox_is_required_only_by_a_strategy_that_requires_it() -> None:
    strict = TrialPolicy(require_sandbox=True)
    assert unfit(on(sandbox=""), policy=POLICY) == ""
    assert unfit(on(), policy=strict) == ""
    assert "sandbox landlock" in unfit(on(sandbox="landlock"), policy=strict)
    assert "sandbox none" in unfit(on(sandbox=""), policy=strict)


def test_a_quarantined_variant_does_not_fit_and_another_one_does() -> None:
    assert "r-7" in unfit(twin(), quarantined={FORM.digest: "r-7"})
    assert unfit(twin(), quarantined={"x" * 64: "r-7"}) == ""


def test_a_device_pinned_to_a_release_accepts_no_other() -> None:
    assert "v1" in unfit(twin(pinned={"m": 1}))
    assert unfit(twin(pinned={"m": 2})) == ""
    assert unfit(twin(pinned={"other": 1})) == ""


def test_a_shadow_needs_a_serving_version() -> None:
    shadow = TrialPolicy(mode="shadow")
    assert unfit(twin(reported={"m": state()}), policy=shadow) == ""
    assert unfit(twin(), policy=shadow) != ""
    assert unfit(twin(reported={"m": state(stable=None)}), policy=shadow) != ""
    assert unfit(twin(), policy=POLICY) == ""


@pytest.mark.parametrize(
    ("opset", "since"),
    [(15, 10), (16, 11), (17, 12), (18, 14), (19, 15), (20, 17), (21, 18), (22, 21)],
)
def test_an_operator_set_needs_the_runtime_that_introduced_it(opset: int, since: int) -> None:
    form = replace(FORM, opset=opset)
    assert unfit(on(onnxruntime=f"1.{since}.0"), form) == ""
    assert f"1.{since}" in unfit(on(onnxruntime=f"1.{since - 1}.9"), form)


@pytest.mark.parametrize(("ir", "since"), [(9, 15), (10, 18), (11, 22)])
def test_a_format_of_a_file_needs_the_runtime_that_reads_it(ir: int, since: int) -> None:
    form = replace(FORM, ir=ir)
    assert unfit(on(onnxruntime=f"1.{since}.0"), form) == ""
    assert f"1.{since}" in unfit(on(onnxruntime=f"1.{since - 1}.9"), form)
    assert unfit(on(onnxruntime="1.14.0"), replace(FORM, ir=8)) == ""


def test_trees_of_the_fifth_operator_set_need_a_runtime_of_their_own() -> None:
    trees = replace(FORM, ml_opset=5)
    assert unfit(on(onnxruntime="1.20.0"), trees) == ""
    assert "1.20" in unfit(on(onnxruntime="1.19.2"), trees)
    assert unfit(on(onnxruntime="1.19.2"), replace(FORM, ml_opset=4)) == ""
    assert "1.21" in unfit(on(onnxruntime="1.20.0"), replace(trees, opset=22))
    assert unfit(on(onnxruntime="2.0"), trees) == ""
    assert unfit(on(onnxruntime="0.99"), replace(FORM, opset=15)) != ""


@pytest.mark.parametrize("name", ["nightly", "1", "1.x", ""])
def test_requirements_that_the_controller_cannot_check_are_tested_by_the_probe(name: str) -> None:
    assert unfit(on(onnxruntime=name), replace(FORM, opset=22)) == ""
    assert unfit(on(onnxruntime="1.1.0"), replace(FORM, opset=99)) == ""


def test_the_first_fitting_variant_is_chosen_and_otherwise_the_first_reason_is_returned() -> None:
    large = replace(FORM, memory_mb=300)
    small = replace(FORM, name="int8", digest="s" * 64, memory_mb=100)
    assert choose_form(twin(), "m", (FORM, small), POLICY, {}) == (FORM, None)
    assert choose_form(twin(), "m", (large, small), POLICY, {}) == (small, None)
    form, reason = choose_form(twin(), "m", (large, large, large), POLICY, {})
    assert form is None
    assert reason is not None
    assert reason.why == "hardware"
    assert reason.words.startswith("512 MB of memory")
    assert "nor does any of 2" in reason.words
    assert "nor does" not in str(choose_form(twin(), "m", (large,), POLICY, {})[1])
    assert choose_form(twin(), "m", (), POLICY, {}) == (None, None)


def test_the_variants_of_a_version_have_their_own_requirements() -> None:
    manifest = make_model(7, "good").manifest
    blob = describe(b"small", 1024)
    variant = Variant(
        name="fp16",
        artifact=blob,
        golden=replace(manifest.golden, blob=blob),
        runtime=Runtime(ir=8, opset=21, ml_opset=5),
        limits=ModelLimits(memory_mb=32, load_s=1),
    )
    first, second = forms_of(replace(manifest, variants=(variant,)))
    assert first == Form(
        name="",
        digest=manifest.artifact.sha256,
        artifact_bytes=manifest.artifact.length,
        golden_bytes=manifest.golden.blob.length,
        release=7,
        hardware=("sim",),
        memory_mb=64,
        opset=18,
        ml_opset=3,
        ir=8,
    )
    assert second == Form(
        name="fp16",
        digest=blob.sha256,
        artifact_bytes=5,
        golden_bytes=5,
        release=7,
        hardware=("sim",),
        memory_mb=32,
        opset=21,
        ml_opset=5,
        ir=8,
    )


# Selection of devices.


def test_a_selector_selects_the_devices_that_have_every_label_sorted_by_name() -> None:
    fleet = [twin("c", labels={"site": "n", "line": "1"}), twin("b", labels={"site": "n"}), twin("a", labels={})]
    assert select(fleet, {"site": "n"}) == ["b", "c"]
    assert select(fleet, {"site": "n", "line": "1"}) == ["c"]
    assert select(iter(fleet), {}) == ["a", "b", "c"]


def test_a_selector_without_a_match_lists_the_existing_labels() -> None:
    fleet = [twin("a", labels={"site": "n"}), twin("b", labels={"line": "1"})]
    with pytest.raises(BadInput, match=r"no device has site=s, x=y; 2 known, with labels line=1, site=n") as caught:
        select(fleet, {"x": "y", "site": "s"})
    assert caught.value.code == Code.SELECTOR_EMPTY
    with pytest.raises(BadInput, match=r"no device has any label; 0 known, with labels none"):
        select([], {})


# What a device moves.


def telemetry(boot: int, received: int, interval_s: float = 0.0) -> Telemetry:
    return Telemetry(
        protocol=1, device="d", boot=boot, seq=1, interval_s=interval_s, intervals=(), bytes_received=received
    )


def test_the_rate_is_computed_from_the_difference_to_the_last_message() -> None:
    first = Traffic(telemetry(1, 1000), 100.0)
    assert first.then(telemetry(1, 3000), 110.0).bytes_s == 200.0
    assert first.then(telemetry(1, 3000, interval_s=40.0), 110.0).bytes_s == 50.0
    later = first.then(telemetry(1, 3000), 110.0)
    assert (later.newest.bytes_received, later.at) == (3000, 110.0)


def test_counters_start_at_zero_with_a_boot_and_a_smaller_counter_gives_no_rate() -> None:
    first = Traffic(telemetry(1, 1000), 100.0)
    assert first.then(telemetry(2, 500), 110.0).bytes_s == 50.0
    assert first.then(telemetry(1, 500), 110.0).bytes_s == 0.0
    assert first.then(telemetry(1, 500), 100.0).bytes_s == 0.0
    assert first.then(telemetry(1, 1001, interval_s=0.5), 100.0).bytes_s == 2.0


# What twins fold.


def beat(boot: int, seq: int, **fields: Any) -> Heartbeat:
    return Heartbeat(
        protocol=1, device="d1", boot=boot, seq=seq, uptime_s=1, hardware=HARDWARE, models=(state(),), **fields
    )


def test_a_heartbeat_replaces_all_reported_state() -> None:
    before = Twin("d1", reported={"gone": state("gone")}, labels={"old": "1"}, document_version=4)
    said = beat(
        2,
        3,
        labels={"site": "n"},
        pinned={"m": 1},
        dropped={"telemetry": 2},
        serve_at="http://10.0.0.2:80/{sha256}",
        nonce="boot-2",
    )
    assert fold_heartbeat(before, said, 50.0) == Twin(
        "d1",
        document_version=4,
        reported={"m": state()},
        hardware=HARDWARE,
        labels={"site": "n"},
        own_labels={"site": "n"},
        pinned={"m": 1},
        dropped={"telemetry": 2},
        connected=True,
        boots=Boots(Boot(2, 3, 50.0, 50.0)),
        seen_at=50.0,
        serve_at="http://10.0.0.2:80/{sha256}",
        asks="boot-2",
    )


def test_a_message_that_is_not_newer_only_updates_the_time_of_the_last_contact() -> None:
    known = Twin("d1", boots=Boots(Boot(2, 3), (Boot(8, 9),)), connected=False)
    for boot, seq in ((2, 3), (2, 2), (8, 9)):
        assert fold_heartbeat(known, beat(boot, seq), 50.0) == replace(known, seen_at=50.0, connected=True)
        assert fold_report(known, Report(protocol=1, device="d1", boot=boot, seq=seq, state=state()), 50.0) == known
    assert fold_heartbeat(known, beat(1, 1), 50.0).boots.current == Boot(1, 1, 50.0, 50.0)


def test_a_report_replaces_one_model_and_a_refusal_replaces_none() -> None:
    known = Twin("d1", reported={"n": state("n")}, boots=Boots(Boot(1, 1)))
    said = fold_report(known, Report(protocol=1, device="d1", boot=1, seq=2, state=state()), 50.0)
    assert (said.reported, said.seen_at, said.connected) == ({"n": state("n"), "m": state()}, 50.0, True)
    assert said.boots == Boots(Boot(1, 2, heard_at=50.0))
    assert fold_report(known, Report(protocol=1, device="d1", boot=1, seq=2), 50.0).reported == known.reported


def test_presence_from_the_broker_counts_as_contact_only_when_the_device_connects() -> None:
    known = Twin("d1", seen_at=10.0)
    there = fold_presence(known, Presence(protocol=1, device="d1", online=True), 50.0)
    gone = fold_presence(known, Presence(protocol=1, device="d1", online=False), 50.0)
    assert (there.connected, there.seen_at, gone.connected, gone.seen_at) == (True, 50.0, False, 10.0)


def test_a_device_is_silent_after_the_limit_without_a_heartbeat() -> None:
    assert Twin("d1").presence(100.0, 90.0) == "unknown"
    assert Twin("d1", seen_at=10.0).presence(100.0, 90.0) == "online"
    assert Twin("d1", seen_at=10.0).presence(100.1, 90.0) == "silent"
    assert Twin("d1", seen_at=10.0, connected=True).presence(100.0, 90.0) == "online"
    assert Twin("d1", seen_at=10.0, connected=False).presence(10.0, 90.0) == "offline"


def test_defaults_of_desired_state() -> None:
    told = Assigned(release=1, generation=1, rollout="r")
    assert (told.attempt, told.offered_at, told.mode, told.digest) == (1, 0.0, "serve", "")
    assert replace(told, policy=TrialPolicy(mode="shadow")).mode == "shadow"
    assert DOCUMENT_LIFE_S == 7 * 24 * 3600
    fresh = Twin("d1")
    assert (fresh.serve_at, fresh.asks, fresh.answered, fresh.seen_at, fresh.hardware) == ("", "", "", None, None)
    assert (fresh.document_version, fresh.issued_at, fresh.boots, fresh.connected) == (0, 0, Boots(), None)


# Neighbours.


def sharer(number: int, *, holds: bool = True, **fields: Any) -> Twin:
    made = twin(
        f"n{number:03}",
        labels={"site": "north"},
        serve_at=f"http://10.0.0.{number}:80/{{sha256}}",
        connected=True,
        seen_at=100.0,
        reported={"m": state(stable=VersionRef(release=2, digest="n" * 64) if holds else V1)},
    )
    return replace(made, **fields)


def test_only_online_devices_that_share_are_neighbours() -> None:
    there = sharer(1)
    fleet = {
        each.device: each
        for each in (
            there,
            sharer(2, serve_at=""),
            sharer(3, connected=False),
            sharer(4, labels={}),
            sharer(5, seen_at=0.0),
        )
    }
    assert neighbours_by_label("site", fleet, 110.0, 90.0) == {"north": [there]}
    assert neighbours_by_label("", fleet, 110.0, 90.0) == {}


def named(fleet: list[Twin], asker: Twin) -> tuple[str, ...]:
    near_by_label = neighbours_by_label("site", {each.device: each for each in fleet}, 110.0, 90.0)
    return neighbours_of(asker, "site", "m", "n" * 64, near_by_label)


def test_at_most_two_neighbours_are_named_and_never_the_device_itself() -> None:
    asker = sharer(9)
    assert len(named([sharer(number) for number in range(1, 6)], asker)) == MAX_NEIGHBOURS == 2
    assert named([asker, sharer(1), sharer(2, holds=False)], asker) == (sharer(1).serve_at,)
    assert named([sharer(1)], replace(asker, labels={"site": "south"})) == ()
    assert named([sharer(1)], replace(asker, labels={})) == ()
    assert named([], asker) == ()


def test_each_neighbour_of_a_small_site_is_checked_once_and_a_sample_of_a_large_one() -> None:
    for count in (1, 2, 3, 7, MAX_LOOKED_AT):
        fleet = [sharer(number, holds=number == 0) for number in range(count)]
        for asker in (twin(f"asker-{number}", labels={"site": "north"}) for number in range(12)):
            assert named(fleet, asker) == (sharer(0).serve_at,)
    assert MAX_LOOKED_AT == 64
    large = [sharer(number, holds=number == 0) for number in range(4 * MAX_LOOKED_AT)]
    found = [named(large, twin(f"asker-{number}", labels={"site": "north"})) for number in range(60)]
    assert 0 < sum(bool(each) for each in found) < 30
