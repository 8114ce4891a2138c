"""One version in several forms: made at conversion, judged beside the full one, chosen for each device by its fit."""

import asyncio
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from msgspec.structs import replace
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from agent.core import admission
from contract.desired import DesiredTarget, TrialPolicy
from contract.errors import BadInput, Code
from contract.manifest import Manifest, Variant
from contract.messages import VersionRef
from contract.names import check_name
from contract.onnx_scan import scan_onnx
from contract.trust.verified import ModelRole, Wanted
from controller.config import Config, StorageConfig
from controller.convert.convert import ConversionLimits, Converted
from controller.fleet.fit import choose_form, forms_of
from controller.gates.variant import judge_variant
from controller.reconcile.decisions import reconcile
from controller.reconcile.preview import plan_rollout, preview
from controller.reconcile.world import Durable, World
from controller.state import open_state
from controller.verbs.push import manifest_of
from edgeward.encode import encode_model, encode_rows
from firmware_sim.models import make_model
from tests.controller.conversions import convert_bytes, form_of
from tests.controller.rollout_worlds import STRATEGY
from tests.controller.test_rollout_plan import twin

DIGITS = load_digits(return_X_y=True)
SMALL, BIG = make_model(3, "good").manifest, make_model(2, "good").manifest
MANIFEST = replace(
    BIG,
    limits=replace(BIG.limits, memory_mb=300),
    variants=(
        Variant(name="int8", artifact=SMALL.artifact, golden=SMALL.golden, runtime=SMALL.runtime, limits=SMALL.limits),
    ),
)
FULL, INT8 = (form.artifact.sha256 for form in MANIFEST.forms)


def convert(model: object, variants: tuple[str, ...]) -> Converted:
    kind, raw = encode_model(model)
    limits = ConversionLimits(timeout_s=240.0, memory_mb=4096)
    return asyncio.run(convert_bytes(kind, raw, encode_rows(DIGITS[0]), limits, variants))  # type: ignore[arg-type]


def answers(model: bytes) -> list[int]:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    rows = DIGITS[0].astype(np.float32)
    return list(session.run(None, {session.get_inputs()[0].name: rows})[0])


def test_a_network_gets_smaller_variants_with_the_same_answers(tmp_path: Path) -> None:
    network = MLPClassifier((256, 128), max_iter=30, random_state=0).fit(*DIGITS)
    converted = convert(network, ("fp16", "int8"))
    full, half, quarter = (form_of(converted, name)[0] for name in ("", "fp16", "int8"))
    assert len(half) < 0.55 * len(full)
    assert len(quarter) < 0.35 * len(full)
    assert np.mean(np.equal(answers(half), answers(full))) == 1.0
    assert np.mean(np.equal(answers(quarter), answers(full))) > 0.99
    assert all(judge_variant(shrunk).passed for shrunk in converted.answer.shrunk)
    state = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    manifest = manifest_of(state, "digits", converted)
    state.close()
    assert [form.artifact.length for form in manifest.forms] == [len(full), len(half), len(quarter)]
    for form in (half, quarter):
        scan_onnx(form)


def test_a_variant_that_saves_nothing_is_left_out_and_the_version_is_released_without_it() -> None:
    converted = convert(LogisticRegression(max_iter=50).fit(*DIGITS), ("fp16",))
    (shrunk,) = converted.answer.shrunk
    assert list(converted.forms) == [""] or shrunk.size_bytes < converted.forms[""][0].blob.length
    tiny = convert(LogisticRegression(max_iter=50).fit(DIGITS[0], DIGITS[1] > 4), ("fp16",))
    assert list(tiny.forms) == [""]
    assert "saves nothing" in judge_variant(tiny.answer.shrunk[0]).detail


def test_each_kind_of_device_gets_the_first_variant_that_fits_it() -> None:
    forms = forms_of(MANIFEST)
    for memory_mb, digest in ((3900, FULL), (480, INT8)):
        form, reason = choose_form(twin(memory_mb=memory_mb), "m", forms, TrialPolicy(), {})
        assert form is not None
        assert (form.digest, reason) == (digest, None)
    form, reason = choose_form(twin(memory_mb=40), "m", forms, TrialPolicy(), {})
    assert form is None
    assert reason is not None
    assert reason.words.startswith("40 MB of memory")
    assert reason.words.endswith("nor does any of 1 smaller variants fit")


def world() -> World:
    return World(silent_s=90.0, durable=Durable({"big": twin("big"), "small": twin("small", memory_mb=480)}))


def test_one_rollout_offers_each_device_its_variant_and_counts_both_as_the_release() -> None:
    made = world()
    strategy = replace(STRATEGY, waves=STRATEGY.waves[1:])
    made.durable.rollouts["r"] = rollout = plan_rollout(
        made, MANIFEST, strategy, name="r", model="m", selector={}, now=0.0
    )
    seen = preview(made, rollout, 0.0)
    assert seen.variants == {"int8": 1}
    assert seen.bytes_to_send == sum(form.artifact_bytes + form.golden_bytes for form in rollout.forms)
    reconcile(made, [], 1.0)
    assert {name: each.desired["m"].digest for name, each in made.durable.twins.items()} == {"big": FULL, "small": INT8}
    for name, digest in (("big", FULL), ("small", INT8)):
        state = replace(made.durable.twins[name].reported["m"], stable=VersionRef(release=2, digest=digest))
        made.durable.twins[name] = replace(made.durable.twins[name], reported={"m": state})
    for now in (2.0, 3.0):
        reconcile(made, [], now)
    assert made.durable.rollouts["r"].status == "completed"


def test_a_roll_back_names_the_confirmed_variant_of_the_device() -> None:
    made = world()
    made.durable.rollouts["r"] = plan_rollout(made, MANIFEST, STRATEGY, name="r", model="m", selector={}, now=0.0)
    reconcile(made, [], 1.0)
    made.durable.rollouts["r"] = replace(made.durable.rollouts["r"], status="rolling_back")
    told = {name for name, each in made.durable.twins.items() if each.desired}
    reconcile(made, [], 2.0)
    before = {member.device: member.previous_digest for member in made.durable.rollouts["r"].members}
    assert told
    assert all(made.durable.twins[name].desired["m"].digest == before[name] != "" for name in told)


def role(manifest: Manifest) -> ModelRole:
    return ModelRole({manifest.release: manifest}, 0)


def test_a_device_runs_only_the_variant_that_the_director_names() -> None:
    custom = DesiredTarget(model=check_name("m", "model"), generation=1, rollout="r", policy=TrialPolicy())
    form = MANIFEST.forms[1]
    want = Wanted("m", 2, form.artifact.length, form.artifact.sha256, custom)
    assigned = admission.assign(want, role(MANIFEST), 0, "sim")
    assert (assigned.digest, assigned.manifest.golden, assigned.manifest.variants) == (INT8, SMALL.golden, ())
    for length, digest in ((form.artifact.length, "0" * 64), (form.artifact.length + 1, INT8)):
        with pytest.raises(BadInput) as caught:
            admission.assign(Wanted("m", 2, length, digest, custom), role(MANIFEST), 0, "sim")
        assert caught.value.code == Code.IMAGE_MISMATCH
