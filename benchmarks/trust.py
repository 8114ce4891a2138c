"""Trust: from publish to a verified signed report over mutual TLS, the time to check a document, and its memory."""

import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
from cryptography.hazmat.primitives.asymmetric import ec

from agent.core.admission import HighWater, check_document
from agent.trust.renewal import certificate_request, private_key_pem
from benchmarks.table import Row
from contract import topics
from contract.blobs import chunk_list, describe, split
from contract.desired import DesiredTarget, TrialPolicy
from contract.golden import join_golden
from contract.manifest import Golden, Manifest
from contract.messages import Report
from contract.tensors import encode_tensors
from contract.trust import chain, repository
from contract.trust.documents import read_desired, sign_desired
from contract.trust.verified import Wanted
from contract.wire import decode, encode
from controller.broker.process import RunningBroker, start_broker
from controller.config import BrokerConfig
from controller.registry.credentials import Credentials
from controller.trust.authorities import Authorities
from controller.trust.certificates import pem
from controller.trust.enrolment import Enrolment
from controller.trust.senders import Senders
from firmware_sim.fleet_keys import FIRST, KEYS, RELEASE, ROOTS, TARGETS, TRUSTED
from firmware_sim.models import make_model
from firmware_sim.real_models import onnx_bytes

ROUNDS = 100
GOAL_MS = 60.0
_CONFIG = """
[device]
name = "cam-1"
state_dir = "{home}/state"
[broker]
url = "mqtts://localhost:{port}"
ca_file = "{home}/ca.pem"
cert_file = "{home}/device.pem"
key_file = "{home}/device.key"
"""
_MEMORY = """
import sys, types
from importlib.machinery import ModuleSpec
class Nothing:
    def __class_getitem__(cls, item): return cls
    def __init__(self, *args, **named): pass
class Hollow(types.ModuleType):
    __path__ = []
    def __getattr__(self, name): return type(name, (Nothing, Exception), {})
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tuf", "securesystemslib", "cryptography"):
            return ModuleSpec(name, self)
    def create_module(self, spec): return Hollow(spec.name)
    def exec_module(self, module): pass
if sys.argv[1] == "without":
    sys.meta_path.insert(0, Finder())
import agent.daemon
if sys.argv[1] == "with":
    from contract.trust import chain
    chain.trust_root(open(sys.argv[2]).read())
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")))
"""


def measure() -> list[Row]:
    """All rows."""
    return [*_end_to_end(), *_evaluation(), _memory()]


def _signed_files(manifest: Manifest, now: datetime) -> dict[str, str]:
    files = dict(FIRST)
    files["targets.json"] = repository.delegate(files, "m", [RELEASE.public_key], targets=TARGETS, now=now)
    files["models-m.json"] = repository.sign_role(files, "m", {1: manifest}, signers=[RELEASE], now=now)
    root = repository.rotate_root(files, now, ROOTS)  # the fixed root of simulated fleets, with a date of today
    return repository.refresh(root, KEYS, now)


def _end_to_end() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="edgeward-bench-") as scratch:
        home, now = Path(scratch), datetime.now(UTC).replace(microsecond=0)
        (home / "pki").mkdir()
        enrolment = Enrolment(Authorities(home / "pki", now), Credentials(home / "c.sqlite"))
        broker = start_broker(BrokerConfig(url="mosquitto", tls=True, port=0), home / "broker", (enrolment, now))
        try:
            echo_ms = _round_trips(home, enrolment, broker, now)
            report_ms = _reports(home, enrolment, broker, now)
        finally:
            broker.stop()
    said = f"bare MQTT round trip over the same TLS, {ROUNDS} each"
    return [
        Row("publish -> verified signed report, median", report_ms, echo_ms, "ms", said),
        Row("publish -> verified signed report, median", report_ms, GOAL_MS, "ms", "the goal", goal=1.0),
    ]


def _device(home: Path, name: str, enrolment: Enrolment, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (home / "device.key").write_bytes(private_key_pem(key))
    request = certificate_request(key, name)
    certificate = enrolment.enrol(enrolment.claim(name, now), request, now)
    (home / "device.pem").write_text(pem(certificate))
    (home / "ca.pem").write_text(enrolment.authorities.pem)
    (home / "root.json").write_text(FIRST["1.root.json"])


def _at_once(_client: paho.Client, _userdata: Any, opened: Any) -> None:
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _client(port: int, ca: Path, certificate: Path, key: Path) -> paho.Client:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "bench", protocol=paho.MQTTv5)
    client.tls_set(str(ca), str(certificate), str(key))
    client.on_socket_open = _at_once
    client.connect("localhost", port)
    client.loop_start()
    while not client.is_connected():
        time.sleep(0.01)
    return client


def _service(broker: RunningBroker) -> paho.Client:
    assert broker.files is not None
    tls = broker.files.client(BrokerConfig(), "svc.controller")
    return _client(broker.port, Path(tls.ca_file), Path(tls.cert_file), Path(tls.key_file))


def _echo(client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
    client.publish(topics.report("echo"), message.payload, 1)


def _round_trips(home: Path, enrolment: Enrolment, broker: RunningBroker, now: datetime) -> float:
    """Measures round trips from the service to a device and back, both QoS 1."""
    place = home / "echo"
    place.mkdir()
    _device(place, "echo", enrolment, now)
    service = _service(broker)
    device = _client(broker.port, place / "ca.pem", place / "device.pem", place / "device.key")
    back = threading.Event()
    device.on_message = _echo
    service.on_message = lambda *_: back.set()
    device.subscribe(topics.desired("echo"), 1)
    service.subscribe(topics.report("echo"), 1)
    time.sleep(0.5)
    times = []
    for _ in range(ROUNDS):
        back.clear()
        began = time.perf_counter()
        service.publish(topics.desired("echo"), b"x" * 600, 1)
        assert back.wait(5)
        times.append((time.perf_counter() - began) * 1000)
    for client in (service, device):
        client.disconnect()
        client.loop_stop()
    return statistics.median(times)


def _reports(home: Path, enrolment: Enrolment, broker: RunningBroker, now: datetime) -> float:
    """Measures a real agent process: from a new document of the version that it runs to the report that it has acted on
    it.
    """
    place = home / "device"
    place.mkdir()
    _device(place, "cam-1", enrolment, now)
    (place / "agent.toml").write_text(_CONFIG.format(home=place, port=broker.port))
    senders, service = Senders(enrolment.credentials, require_signed=True), _service(broker)
    senders.is_authentic(
        "cam-1", Report(protocol=1, device="cam-1", boot=0, seq=0), time.time()
    )  # keys from this thread
    heard: dict[int, float] = {}

    def on_message(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        report = decode(bytes(message.payload), Report)
        verified = senders.is_authentic("cam-1", report, time.time())
        settled = report.state is not None and report.state.phase == "steady"
        if verified and settled and report.state is not None:
            heard.setdefault(report.state.generation, time.perf_counter())

    service.on_message = on_message
    service.subscribe(topics.report("cam-1"), 1)
    artifact = onnx_bytes(1, "good")
    golden = encode_tensors(join_golden({"X": np.zeros((1, 1), np.float32)}, {"label": np.zeros((1, 1), np.int64)}))
    manifest = _manifest(artifact, golden)
    for blob, data in ((manifest.artifact, artifact), (manifest.golden.blob, golden)):
        service.publish(topics.chunk_list(blob.sha256), chunk_list(data, blob.chunk_bytes), 1, retain=True)
        for index, chunk in enumerate(split(data, blob.chunk_bytes)):
            service.publish(topics.chunk(blob.sha256, index), chunk, 1, retain=True)
    files = _signed_files(manifest, now)
    service.publish(topics.model_role("m"), files["models-m.json"].encode(), 1, retain=True)
    service.publish(topics.trust(), encode(repository.trust_bundle(files)), 1, retain=True)
    command = [str(Path(sys.executable).with_name("edgeward-agent")), "run", "-c", str(place / "agent.toml")]
    agent = subprocess.Popen(command, stderr=(home / "agent.log").open("w"))
    times = []
    try:
        for generation in range(1, ROUNDS + 2):
            document = _desired(generation, manifest, now)
            began = time.perf_counter()
            service.publish(topics.desired("cam-1"), document, 1, retain=True)
            while generation not in heard:
                time.sleep(0.0002)
                assert time.perf_counter() - began < 60, (home / "agent.log").read_text()[-2000:]
            if generation > 1:
                times.append((heard[generation] - began) * 1000)
    finally:
        agent.terminate()
        agent.wait()
        service.loop_stop()
    return statistics.median(times)


def _desired(generation: int, manifest: Manifest, now: datetime) -> bytes:
    policy = TrialPolicy(soak_s=Decimal("0.2"), give_up_s=Decimal(60), min_samples=0)
    custom = DesiredTarget(model="m", generation=generation, rollout="r", policy=policy)
    want = Wanted("m", 1, manifest.artifact.length, manifest.artifact.sha256, custom)
    expires = now + timedelta(days=7)
    return sign_desired("cam-1", (want,), version=generation, issued=now, expires=expires, signer=KEYS.director)


def _manifest(artifact: bytes, golden: bytes) -> Manifest:
    import platform

    import msgspec

    described = make_model(1, "good", artifact=artifact).manifest
    change = msgspec.structs.replace
    kept = Golden(
        blob=describe(golden, 65536), rows=1, rtol=Decimal("0.001"), atol=Decimal("0.001"),
        max_row_mismatch_ratio=Decimal(0),
    )  # fmt: skip
    outputs = (change(described.outputs[0], shape=(-1, 1)),)
    return change(
        described, artifact=describe(artifact, 65536), golden=kept, outputs=outputs, hardware=(platform.machine(),)
    )


def _evaluation() -> list[Row]:
    """Measures everything that a device does with a bundle, a role and a document, verified from scratch and again."""
    now = datetime.now(UTC).replace(microsecond=0)
    manifest = make_model(1, "good").manifest
    files = _signed_files(manifest, now)
    trust_bundle, role, document = (
        encode(repository.trust_bundle(files)),
        files["models-m.json"].encode(),
        _desired(1, manifest, now),
    )

    def evaluate() -> None:
        trusted = chain.follow(TRUSTED, trust_bundle, now)
        trusted = chain.take_role(trusted, "m", role, now)
        desired = read_desired(document, chain.targets_of(trusted))
        check_document(desired, device="cam-1", high_water=HighWater(), keyids=chain.director_keys(trusted), now=now)

    def timed(cold: bool) -> float:
        times = []
        for _ in range(ROUNDS):
            if cold:
                chain._memo.clear()
            began = time.perf_counter()
            evaluate()
            times.append((time.perf_counter() - began) * 1000)
        return statistics.median(times)

    cold, warm = timed(cold=True), timed(cold=False)
    return [
        Row("evaluate bundle, role and document, all new", cold, 20.0, "ms", "the goal", goal=1.0),
        Row("evaluate a document, bundle and role known", warm, cold, "ms", "all new"),
    ]


def _memory() -> Row:
    root = Path(__file__).parents[1] / "tests" / "data" / "wire" / "root.json"

    def resident_mb(mode: str) -> float:
        command = [sys.executable, "-c", _MEMORY, mode, str(root)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1024

    ours = statistics.median(resident_mb("with") for _ in range(5))
    bare = statistics.median(resident_mb("without") for _ in range(5))
    return Row(
        "RSS of the whole agent with trust",
        ours,
        bare,
        "MB",
        "the same agent with tuf and cryptography hollowed out",
        goal=1.25,
    )
