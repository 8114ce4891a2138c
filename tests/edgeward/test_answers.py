"""Each answer of the client against the API's own schema, and how answers read, print and become frames."""

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec
import pandas as pd
import pytest

import edgeward
from contract.errors import BadInput, Code
from controller.api.openapi import openapi
from edgeward.answers import (
    alerts,
    claims,
    data,
    devices,
    drift,
    fleet,
    models,
    operators,
    pins,
    pushes,
    retraining,
    rollout_looks,
    rollouts,
    telemetry,
    tried,
    watcher,
)
from edgeward.answers.answer import MAX_SHOWN_CHARS, Answer, Sentences, show
from edgeward.answers.blob import Blob
from edgeward.answers.table import MAX_PRINTED_ROWS, Table
from edgeward.cli.render import how_right

ANSWERED: dict[str, type[Answer]] = {
    "Tried": tried.Tried,
    "Claimed": retraining.Claimed,
    "Decision": retraining.Decision,
    "Retraining": retraining.Retraining,
    "RetrainingPolicy": retraining.RetrainingPolicy,
    "Health": operators.Health,
    "Enrolment": devices.Enrolment,
    "ModelView": models.Model,
    "VersionView": models.Version,
    "VersionDetail": models.VersionDetail,
    "FoundVersion": models.FoundVersion,
    "VersionPage": models.Found,
    "PushAnswer": pushes.Pushed,
    "AliasView": models.Alias,
    "Notes": models.Notes,
    "Written": models.Written,
    "Comparison": models.Comparison,
    "Difference": models.Difference,
    "controller.registry.version.Environment": models.Environment,
    "CleanAnswer": models.Cleaned,
    "Retained": models.Retained,
    "FitView": models.Fit,
    "Removal": models.Removal,
    "Waiver": models.Waiver,
    "GatePolicy": models.GatePolicy,
    "Delivery": models.VersionDelivery,
    "Blob": Blob,
    "RolledBackView": models.RolledBack,
    "GateVerdict": models.Gate,
    "CapturedView": models.Capture,
    "CapturedRow": models.CapturedRow,
    "DeviceView": devices.Device,
    "DeviceDetail": devices.DeviceDetail,
    "DevicePage": devices.DevicePage,
    "DeviceModelView": devices.DeviceModel,
    "MeasuredView": devices.Measured,
    "ModelState": devices.ModelState,
    "VersionRef": devices.VersionRef,
    "UpdateOutcome": devices.UpdateOutcome,
    "Progress": devices.Progress,
    "Hardware": devices.Hardware,
    "HistoryEntry": devices.HistoryEntry,
    "Claim": claims.Claim,
    "DeviceAnswer": claims.DeviceAnswer,
    "PinAnswer": pins.PinAnswer,
    "Pin": pins.Pin,
    "Template": rollouts.Template,
    "RetiredView": devices.Retired,
    "DeviceLines": devices.DeviceLines,
    "NoteView": devices.NoteOfDevice,
    "Selector": devices.Selector,
    "FleetView": fleet.Fleet,
    "StickView": operators.StickDocuments,
    "StickTaken": operators.StickTaken,
    "RolloutView": rollouts.Rollout,
    "RolloutSummary": rollouts.RolloutSummary,
    "WaveProgress": rollouts.WaveProgress,
    "Exposure": rollouts.Exposure,
    "MemberPage": rollouts.MemberPage,
    "VerbPreview": rollouts.VerbPreview,
    "RolloutEvent": rollout_looks.RolloutEvent,
    "RolloutComparison": rollout_looks.RolloutComparison,
    "Discussion": rollout_looks.Discussion,
    "Review": rollout_looks.Review,
    "AuditData": rollouts.AuditData,
    "MentionData": rollouts.MentionData,
    "MemberView": rollouts.Member,
    "VerdictView": rollouts.Verdict,
    "VerdictPointView": rollouts.VerdictPoint,
    "Figures": rollouts.Figures,
    "TelemetryRow": telemetry.TelemetryRow,
    "VitalsRow": telemetry.Vitals,
    "Spread": telemetry.Spread,
    "WatcherView": watcher.Watcher,
    "Departure": watcher.Departure,
    "WatcherHistory": watcher.WatcherHistory,
    "DeviceHistory": watcher.DeviceHistory,
    "DriftReport": drift.Drift,
    "Ranked": drift.Ranked,
    "Moved": drift.Moved,
    "DeviceMoved": drift.DeviceMoved,
    "Between": drift.Between,
    "QualityEstimate": drift.QualityEstimate,
    "BreachRate": drift.BreachRate,
    "FairnessView": drift.Fairness,
    "Fairness": drift.GroupFairness,
    "GroupRates": drift.GroupRates,
    "Rate": drift.Rate,
    "Signal": drift.Signal,
    "LabelsWanted": drift.LabelsWanted,
    "Wanted": drift.WantedRow,
    "TransferView": rollouts.Transfer,
    "Preview": rollouts.Preview,
    "WavePreview": rollouts.WavePreview,
    "DeploymentPolicy": rollouts.DeploymentPolicy,
    "Event": rollouts.Event,
    "RolloutData": rollouts.RolloutData,
    "HealthData": rollouts.HealthData,
    "VerdictData": rollouts.VerdictData,
    "SickData": rollouts.SickData,
    "ExpiryData": rollouts.ExpiryData,
    "AlertData": rollouts.AlertData,
    "AlertView": alerts.Alert,
    "AlertDetail": alerts.AlertDetail,
    "AlertPage": alerts.AlertPage,
    "SilenceView": alerts.Silence,
    "Matcher": alerts.Matcher,
    "Rules": alerts.AlertRules,
    "RuleView": alerts.AlertRule,
    "RuleTest": alerts.RuleTest,
    "ReceiverView": alerts.AlertReceiver,
    "CertificateView": operators.Certificate,
    "AuthorityView": operators.Authority,
    "Finding": rollouts.Finding,
    "Sentences": Sentences,
    "TrustView": operators.Trust,
    "RoleProposal": operators.RoleProposal,
    "PublicKey": operators.PublicKey,
    "Scope": operators.Scope,
    "TokenView": operators.Token,
    "NewToken": operators.NewToken,
    "AuditEntry": operators.AuditEntry,
    "AuditExport": operators.AuditExport,
    "Withdrawal": models.Withdrawal,
    "FaultView": devices.Fault,
    "DataSet": data.DataSet,
    "RowsLeftOut": data.RowsLeftOut,
    "PushUnderWay": pushes.PushUnderWay,
    "DataSetMade": data.DataSetMade,
    "DataComparison": data.DataComparison,
    "DeletionView": data.Deletion,
    "TrainedView": data.Trained,
}
"""The class in which the client returns each schema of the API."""
NUMBERS = {"DataPage", "Labelled", "Lifted", "Revoked", "MetadataTaken"}
"""Schemas of which the client answers the one value that they hold."""
NOT_ASKED = {
    "AttestationPage", "AuditCheck", "Certificate", "Change", "Curve", "Error", "FleetCells", "GettableAlert",
    "Lineage", "LiveMessage", "Me", "Quality", "RolloutPage", "Row", "RunDetail", "RunPage", "ScopeRefusal",
    "SignedLineage", "TrainedOn", "Ways", "WhyView",
}  # fmt: skip
"""Schemas of calls that the page, a device or a reader of an Alertmanager makes, or that are checked as signed."""

SCHEMAS: dict[str, Any] = openapi()["components"]["schemas"]
VERSION = {
    "model": "m", "release": 2, "passed": True, "digest": "ab", "size_bytes": 10, "task": "classification",
    "estimator": "Forest", "created_at": "2026-01-02T03:04:05+00:00", "created_by": "ada",
    "gates": [{"gate": "parity", "passed": True, "detail": "all rows"}], "withdrawn": None, "devices": [],
    "semver": "1.1.0", "aliases": ["champion"], "tags": {}, "metrics": {}, "licence": "", "removed": None,
    "rolled_back": None,
}  # fmt: skip


def schema_of(name: str) -> Any:
    """The schema by its name; msgspec writes the module before names that two rooms have."""
    (found,) = [schema for full, schema in SCHEMAS.items() if full == name or full.endswith((f".{name}", f"_{name}"))]
    return found


def kinds(schema: Any, schemas: dict[str, Any]) -> set[str]:
    """The JSON types that a schema allows; nothing for one that allows everything."""
    if "$ref" in schema:
        return kinds(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "anyOf" in schema:
        return {kind for each in schema["anyOf"] for kind in kinds(each, schemas)}
    if "enum" in schema:
        return {"null" if value is None else "string" for value in schema["enum"]}
    named = schema.get("type", [])
    return {named} if isinstance(named, str) else set(named)


@pytest.mark.parametrize("name", sorted(ANSWERED))
def test_an_answer_has_the_properties_of_the_api_and_their_types(name: str) -> None:
    (_,), mine = msgspec.json.schema_components([ANSWERED[name]], schema_hook=lambda _: {"description": "anything"})
    answer, served = mine[ANSWERED[name].__name__], schema_of(name)
    assert set(answer["properties"]) == set(served["properties"])
    for key, schema in served["properties"].items():
        wanted, taken = kinds(schema, SCHEMAS), kinds(answer["properties"][key], mine)
        assert not taken or wanted <= taken, (name, key)


def test_every_schema_of_the_api_has_a_class_or_a_reason() -> None:
    answered: set[str] = set()
    for path in openapi()["paths"].values():
        for operation in path.values():
            content = operation["responses"]["200"]["content"].get("application/json", {}).get("schema", {})
            inner = content.get("items") or content.get("additionalProperties") or content
            if "$ref" in inner:
                answered.add(inner["$ref"].rpartition("/")[2].rpartition(".")[2])
    assert answered
    assert answered <= {*ANSWERED, *NUMBERS, *NOT_ASKED}


def test_an_unknown_key_of_a_newer_controller_is_ignored_and_a_missing_one_is_named() -> None:
    found = models.Version.read({**VERSION, "colour": "blue"})
    assert (found.release, found.plain["colour"]) == (2, "blue")
    with pytest.raises(BadInput, match="release") as caught:
        models.Version.read({key: value for key, value in VERSION.items() if key != "release"})
    assert caught.value.code == Code.MESSAGE_MALFORMED
    with pytest.raises(BadInput, match="created_at"):
        models.Version.read({**VERSION, "created_at": "2026-01-02T03:04:05"})


def test_times_have_a_time_zone_and_become_timestamps_in_a_frame() -> None:
    table = Table([models.Version.read(VERSION)])
    assert table[0].created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    frame = table.to_frame()
    assert frame["created_at"][0] == pd.Timestamp("2026-01-02T03:04:05Z")
    assert str(frame["created_at"].dtype).endswith("UTC]")
    assert frame["release"].tolist() == [2]


def test_an_answer_prints_its_fields_and_shortens_long_ones() -> None:
    shown = repr(models.Version.read({**VERSION, "estimator": "E" * 500}))
    assert shown.startswith("Version(model='m', release=2, semver='1.1.0', passed=True")
    assert "created_at=2026-01-02 03:04:05+00:00" in shown
    assert "gates=<1>" in shown
    assert "E" * (MAX_SHOWN_CHARS + 1) not in shown


def test_str_gives_a_sentence_and_repr_gives_the_fields() -> None:
    version = models.Version.read({**VERSION, "estimator": "Forest", "size_bytes": 1500})
    assert str(version) == "m v2 (1.1.0) passed its gates, 1.5 kB, Forest"
    pushed = {name: getattr(version, name) for name in version.__struct_fields__}
    missing: dict[str, Any] = {name: None for name in pushes.Pushed.__struct_fields__ if name not in pushed}
    missing |= {"tags_added": {"job": "7"}, "tags_replaced": {"job": "6"}, "mended": True, "not_taken": ("licence",)}
    again = (
        "same bytes as m v2: no version was made; files of m v2 were missing or damaged and are there again; "
        "m v2 has got the tags job=7 in place of 6; m v2 keeps its first licence"
    )
    for new, words in ((True, str(version)), (False, again)):
        assert str(pushes.Pushed(**{**missing, **pushed, "new": new})) == words
    device = devices.Device.read(device_json(why="what it has confirmed answers"))
    assert str(device) == "d: online, well (what it has confirmed answers); runs no confirmed version"


def test_a_repr_leaves_out_empty_fields_and_only_names_large_ones() -> None:
    version = models.Version.read({**VERSION, "tags": {}, "licence": ""})
    assert "tags=" not in repr(version)
    assert "licence=" not in repr(version)
    assert "withdrawn=" not in repr(version)
    large = models.Lineage(
        created_at=datetime(2026, 11, 27, tzinfo=UTC), created_by="ada", source="skops", source_sha256="a" * 64,
        estimator="E" * 60, params={}, libraries={}, tags={}, sample_sha256="b" * 64,
    )  # fmt: skip
    assert show(large) == "<Lineage>"
    assert show(devices.VersionRef(release=3, digest="abc")) == "VersionRef(release=3, digest='abc')"


def test_html_for_a_notebook_is_escaped() -> None:
    version = models.Version.read({**VERSION, "model": "<script>alert(1)</script>"})
    explanation = Sentences(sentences=("<b>x</b>",))
    for html in (version._repr_html_(), Table([version])._repr_html_(), explanation._repr_html_()):
        assert "<script>" not in html
        assert "<b>" not in html
        assert "&lt;" in html
    device = Table([devices.Device.read(device_json(labels={"<i>": "x"}))])
    assert "<i>" not in device._repr_html_()


def test_no_password_is_printed() -> None:
    token = {
        "id": "t",
        "name": "n",
        "roles": [],
        "created_at": VERSION["created_at"],
        "revoked": False,
        "scope": {"labels": {}, "models": []},
    }
    made = operators.NewToken.read({"token": "s3cret", "kept": {**token, "expires_at": VERSION["created_at"]}})
    claim = claims.Claim.read(
        {"url": "u", "token": "s3cret", "device": "d", "broker_url": "mqtt://u:s3cret@h", "ca": "", "root": ""}
    )
    enrolment = devices.Enrolment.read({"broker_url": "mqtt://u:s3cret@h", "root": ""})
    for answer in (made, claim, enrolment):
        for shown in (repr(answer), answer._repr_html_(), repr(Table([answer])), Table([answer])._repr_html_()):
            assert "s3cret" not in shown
    assert made.token == "s3cret"


def test_a_table_is_a_sequence_that_prints_its_first_rows_and_counts_the_rest() -> None:
    table = Table(models.Version.read({**VERSION, "release": number}) for number in range(MAX_PRINTED_ROWS + 5))
    lines = repr(table).splitlines()
    assert lines[0].split()[:3] == ["model", "release", "semver"]
    assert (len(lines), lines[-1]) == (MAX_PRINTED_ROWS + 2, "... and 5 more")
    assert (len(table), table[3].release, table[-2:][0].release) == (MAX_PRINTED_ROWS + 5, 3, MAX_PRINTED_ROWS + 3)
    assert (repr(Table()), len(Table().to_frame())) == ("(no rows)", 0)


def test_the_fleet_is_a_row_per_device_and_model_with_labels_as_columns() -> None:
    state = {"model": "m", "phase": "steady", "generation": 1, "stable": {"release": 3, "digest": "ab"}}
    measured = {"release": 3, "inferences": 7, "errors": 0, "accuracy": 0.5, "labelled": 4}
    latency = {"latency_us_p50": 1.0, "latency_us_p95": 2.0}
    model = {"model": "m", "desired_release": 4, "state": state, "measured": [{**measured, **latency}]}
    bare, busy = device_json(device="a"), device_json(device="b", models=[model], labels={"site": "north"})
    frame = Table([devices.Device.read(bare), devices.Device.read(busy)]).to_frame()
    assert frame["device"].tolist() == ["a", "b"]
    assert frame["site"].tolist()[1] == "north"
    row = frame.iloc[1]
    assert (row["desired"], row["stable"], row["inferences"], row["accuracy"]) == (4, 3, 7, 0.5)


def test_a_regression_is_a_row_with_its_error_and_r2_and_an_empty_accuracy() -> None:
    state = {"model": "m", "phase": "steady", "generation": 1, "stable": {"release": 3, "digest": "ab"}}
    measured = {
        "release": 3,
        "inferences": 7,
        "errors": 1,
        "accuracy": None,
        "labelled": 4,
        "refused": {"a": 2, "b": 3},
    }
    errors = {"mean_absolute_error": 1.25, "r2": 0.9, "latency_us_p50": 1.0, "latency_us_p95": 2.0}
    model = {"model": "m", "desired_release": 3, "state": state, "measured": [{**measured, **errors}]}
    (row,) = devices.Device.read(device_json(device="a", models=[model])).table_rows()
    assert (row["accuracy"], row["mean_absolute_error"], row["r2"]) == (None, 1.25, 0.9)
    assert (row["errors"], row["refused"]) == (1, 5)
    assert how_right(devices.Device.read(device_json(models=[model])).models[0].serving) == "MAE 1.25, R2 0.900"
    assert how_right(None) == "-"


def test_a_captured_row_has_inputs_under_their_names_and_other_fields_with_an_underscore() -> None:
    row = {"at": 1.5, "model": "m", "release": 1, "why": "hard", "inputs": {"t": 2.0, "id": "x"}, "value": "yes"}
    frame = Table([models.Capture.read({"id": 9, "device": "d", "row": row})]).to_frame()
    assert frame.columns.tolist()[:2] == ["t", "id"]
    assert (frame["id"][0], frame["_id"][0], frame["_device"][0], frame["_value"][0]) == ("x", 9, "d", "yes")
    assert frame["_at"][0] == pd.Timestamp("1970-01-01T00:00:01.5Z")


def test_importing_the_package_loads_neither_http_nor_pandas_and_the_version_is_the_installed_one() -> None:
    words = "import sys, edgeward; print(edgeward.__version__, *sys.modules)"
    version, *loaded = subprocess.run(
        [sys.executable, "-c", words], check=True, capture_output=True, text=True
    ).stdout.split()
    assert version == edgeward.__version__
    assert {"urllib3", "pandas", "numpy", "edgeward.client", "msgspec"}.isdisjoint(loaded)
    for name in edgeward.__all__:
        assert getattr(edgeward, name) is not None
    with pytest.raises(AttributeError, match="Cliemt"):
        _ = edgeward.Cliemt  # type: ignore[attr-defined]


def device_json(**changed: Any) -> dict[str, Any]:
    """A device that has reported nothing yet, as the API answers it."""
    unknown = ("hardware", "rss_mb", "cpu_ratio", "temperature_c", "swap_stall_ms_max", "swap_rss_mb", "seen_s_ago")
    counts = dict.fromkeys(("document_version", "bytes_received", "bytes_sent", "bytes_s"), 0)
    base = {
        "device": "d", "presence": "online", "health": "well", "why": "",
        "faults": [], "quarantined": [], "labels": {}, "given_labels": {}, "note": None, "config": None,
        "config_said": None, "models": [], "dropped": {}, "expiries": {},
        "sensors": [], "sinks": [], "pins": {}, "pinned": {},
    }  # fmt: skip
    return {**base, **counts, **dict.fromkeys(unknown), **changed}
