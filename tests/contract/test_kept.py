"""Files of our own programs, as an older program reads them: unknown keys are left out, the rest is read."""

import json
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
import pytest

from agent.core.admission import HighWater
from agent.core.model import Assignment, Record
from agent.flash.store import DeviceRecord, KeptRole, Store
from contract.desired import Delivery, TrialPolicy
from contract.errors import BadInput, Code
from contract.kept import convert_kept, decode_kept, row_reader
from contract.trust.verified import Trusted
from contract.wire import encode
from controller.fleet.twin import Assigned
from controller.reconcile.durable import DesiredSide, FleetRecords
from controller.registry.registry import Registry
from controller.registry.version import Lineage, Version
from controller.rollout.model import Member, Rollout
from controller.rollout.strategies import STAGED
from controller.trust.scope import Scope
from controller.trust.tokens import ApiToken, Tokens
from controller.verbs.policies import DeploymentPolicy
from firmware_sim.clock import stream
from firmware_sim.durable import DurableStore, DurableTables
from firmware_sim.flash import Flash
from firmware_sim.models import make_model
from tests.controller.rollout_worlds import rollout
from tests.controller.test_retained import GATE

MANIFEST = make_model(1, "good").manifest
ASSIGNED = Assigned(
    release=1,
    generation=7,
    rollout="r-1",
    digest="a" * 64,
    delivery=Delivery(encoding="segments-1", blob=MANIFEST.artifact),
    policy=TrialPolicy(traffic_share=Decimal("0.5"), maintenance=("02:00-03:00",)),
)
DESIRED = DesiredSide(7, 9, {"m": ASSIGNED}, "n", past_boots=((5, 5),), withdrawn={"old": 5})
VERSION = Version(
    model="m",
    release=1,
    manifest=MANIFEST,
    lineage=Lineage(created_at="", created_by="ada", source="onnx", source_sha256="", params={"alpha": 1}),
    evidence={"parity": {"worst": []}},
    gates=(GATE,),
)
POLICY = DeploymentPolicy(strategy=STAGED, selector={"site": "north"})
SCOPE = Scope(labels={"site": "north"}, models=("m",))
TOKEN = ApiToken(id="1", name="ada", roles=("operator",), sha256="", created_at="", expires_at=1.0, scope=SCOPE)
RECORD = Record(
    generation=7, stable=Assignment(model="m", generation=7, manifest=MANIFEST, policy=TrialPolicy(), sources=("x",))
)
DEVICE = DeviceRecord(boots=3, high_water=HighWater(keyids=("k",), version=7), min_releases={"m": 2})
KEPT: list[tuple[type, Any]] = [
    (DesiredSide, DESIRED),
    (Rollout, rollout()),
    (Member, rollout().members[0]),
    (Version, VERSION),
    (DeploymentPolicy, POLICY),
    (ApiToken, TOKEN),
    (Record, RECORD),
    (DeviceRecord, DEVICE),
    (Trusted, Trusted(root="r", roles=(("m", "text"),))),
    (KeptRole, KeptRole(model="m", text="t")),
]
TABLES = {
    "desired",
    "given_labels",
    "pins",
    "labels",
    "selector",
    "min_releases",
    "withdrawn",
    "excluded",
    "libraries",
    "tags",
    "metrics",
    "packages",
}
"""Keys whose value is a table: what is in it are entries, not fields."""
FREE = {"params", "evidence"}
"""Keys whose value is any text of a library."""
SEEDS = 30


def grown(value: Any, random: Random, key: str = "") -> Any:
    """Returns the document with keys that only a newer program knows, at any depth."""
    if key in FREE or not isinstance(value, dict | list):
        return value
    if isinstance(value, list):
        return [grown(each, random) for each in value]
    made = {name: grown(each, random, "" if key in TABLES else name) for name, each in value.items()}
    if key not in TABLES and random.random() < 0.7:
        made[f"since_{random.randrange(9)}"] = random.choice([None, 1, "x", [1], {"deep": {"er": []}}])
    return made


@pytest.mark.parametrize(("kind", "value"), KEPT, ids=lambda each: getattr(each, "__name__", ""))
def test_known_fields_of_a_record_from_a_newer_program_are_read(kind: type, value: Any) -> None:
    plain = json.loads(msgspec.json.encode(value))
    for seed in range(SEEDS):
        written = grown(plain, Random(seed))
        raw = json.dumps(written).encode()
        assert decode_kept(raw, kind, max_bytes=1 << 20) == value
        assert row_reader(kind)(raw) == value
        assert convert_kept(written, kind) == value


def test_an_unreadable_part_is_never_left_out() -> None:
    """Unlike in messages of devices: half a strategy would be another strategy."""
    plain = msgspec.to_builtins(POLICY)
    plain["strategy"]["waves"][0]["percent"] = "all"
    with pytest.raises(BadInput) as refused:
        convert_kept(plain, DeploymentPolicy)
    assert refused.value.code == Code.STORE_CORRUPT
    with pytest.raises(BadInput, match="DeploymentPolicy"):
        decode_kept(json.dumps(plain).encode(), DeploymentPolicy)
    with pytest.raises(msgspec.DecodeError):
        row_reader(DeploymentPolicy)(json.dumps(plain).encode())


def test_an_older_controller_starts_on_the_rows_of_a_newer_one() -> None:
    tables = DurableTables()
    random = Random(1)
    rows = {
        "devices": {"a": DESIRED},
        "rollouts": {"r-1": msgspec.structs.replace(rollout(), members=())},
        "members": {f"r-1/{number:08d}": member for number, member in enumerate(rollout().members)},
    }
    tables.write(
        {
            table: {
                key: json.dumps(grown(json.loads(msgspec.json.encode(each)), random)).encode()
                for key, each in of.items()
            }
            for table, of in rows.items()
        }
    )
    records = FleetRecords(tables)
    durable = records.load_world({}, 90.0).durable
    assert records.unreadable == {}
    assert durable.twins["a"].desired == {"m": ASSIGNED}
    assert durable.rollouts["r-1"] == rollout()


def test_documents_of_a_newer_controller_are_read_and_a_token_keeps_unknown_fields() -> None:
    store = DurableStore()
    store.put("versions", {"m/1": grown(msgspec.to_builtins(VERSION), Random(2))})
    store.put("tokens", {"1": {**msgspec.to_builtins(TOKEN), "scopes": ["north"]}})
    assert Registry(store).version("m", 1) == VERSION
    tokens = Tokens(store)
    assert tokens.all() == [TOKEN]
    tokens.revoke("1")
    written = store.get("tokens", "1")
    assert written is not None
    assert (written["revoked"], written["scopes"]) == (True, ["north"])


def test_an_older_agent_boots_from_the_records_of_a_newer_one() -> None:
    from agent.flash.atomic_file import write_atomic

    flash = Flash(stream(1, "kept"))
    for name, value in (("device", DEVICE), ("record-m", RECORD), ("trust", Trusted(root="r"))):
        written = grown(json.loads(encode(value)), Random(3)) | {"since_0.2": True}
        write_atomic(flash, name, json.dumps(written).encode())
    store = Store(flash)
    assert store.load_device() == (DEVICE, False)
    assert store.load_records() == ({"m": RECORD}, ())
    assert store.load_trusted() == (Trusted(root="r"), False)
