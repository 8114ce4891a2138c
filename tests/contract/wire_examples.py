"""One example of every message. Their encoded bytes are the contract: tests/data/wire holds them.

After an intended change of the protocol, ``python -m tests.contract.wire_examples`` writes the files again.
"""

from datetime import UTC, datetime
from pathlib import Path

from contract.desired import DesiredTarget, TrialPolicy
from contract.messages import (
    Ack,
    Hardware,
    Heartbeat,
    MetricSums,
    ModelInterval,
    ModelState,
    Presence,
    Refusal,
    Report,
    Telemetry,
    UpdateOutcome,
    VersionRef,
)
from contract.trust.documents import sign_desired
from contract.trust.repository import trust_bundle
from contract.trust.verified import Wanted
from contract.wire import encode
from firmware_sim.fleet_keys import FIRST, KEYS, vouched
from firmware_sim.models import make_model

DIRECTORY = Path(__file__).parents[1] / "data" / "wire"
HEAD = {"protocol": 1, "device": "cam-0001", "boot": 3, "seq": 17}
V2 = VersionRef(release=2, digest="ab" * 32)
WHEN = datetime(2026, 1, 1, tzinfo=UTC)
STATE = ModelState(
    model="weather",
    phase="steady",
    generation=4,
    stable=V2,
    serving=V2.digest,
    outcome=UpdateOutcome(generation=4, version=V2, result="confirmed"),
)
FILES = vouched(FIRST, "weather", {2: make_model(2, "good").manifest}, WHEN)
CUSTOM = DesiredTarget(model="weather", generation=4, rollout="r-1", policy=TrialPolicy())


def examples() -> dict[str, bytes]:
    hardware = Hardware(machine="aarch64", cpus=4, memory_mb=512, python="3.11.2", onnxruntime="1.32.0", agent="0.1.0")
    interval = ModelInterval(
        metrics={"scrap_rate": MetricSums(count=2, sum=0.75, squared_sum=0.3125)},
        model="weather",
        version=V2,
        inferences=10,
        errors=1,
        labelled=9,
        correct=8,
        latency_counts=(0, 3, 7),
        predictions={"1": 9},
    )
    late = ModelInterval(model="weather", version=V2, inferences=0, errors=0, labelled=1, correct=1, age_s=90.0)
    wanted = Wanted("weather", 2, 100, V2.digest, CUSTOM)
    expires = datetime(2026, 1, 8, tzinfo=UTC)
    return {
        "presence": encode(Presence(protocol=1, device="cam-0001", online=True)),
        "report_state": encode(Report(state=STATE, **HEAD)),
        "report_refusal": encode(Report(refusal=Refusal(code="desired_rollback", detail="version 3"), **HEAD)),
        "heartbeat": encode(
            Heartbeat(
                uptime_s=60,
                hardware=hardware,
                labels={"site": "north"},
                models=(STATE,),
                dropped={"reports": 1},
                at=1_767_225_600,
                faults={"disk_full": "no space left"},
                **HEAD,
            )
        ),
        "telemetry": encode(
            Telemetry(
                interval_s=30.0,
                intervals=(interval, late),
                rss_mb=61.5,
                cpu_ratio=0.0125,
                temperature_c=48.5,
                swap_rss_mb=-3.5,
                swap_stall_ms_max=1.25,
                bytes_received=1000,
                bytes_sent=2000,
                **HEAD,
            )
        ),
        "ack": encode(Ack(boot=3, seq=17)),
        "desired": sign_desired("cam-0001", (wanted,), version=4, issued=WHEN, expires=expires, signer=KEYS.director),
        "root": FIRST["1.root.json"].encode(),
        "trust": encode(trust_bundle(FILES)),
        "model_role": FILES["models-weather.json"].encode(),
    }


if __name__ == "__main__":
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name, raw in examples().items():
        (DIRECTORY / f"{name}.json").write_bytes(raw)
