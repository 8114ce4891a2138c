"""Telemetry: rows a second into the store, a message's cost in a large fleet, messages from a real Mosquitto, kills.

The flooder is a process of its own (`python -m benchmarks.telemetry PORT PASSWORD SECONDS HOME DIGEST`).
EDGEWARD_KILLS: how often the writer is killed; the default is 100.
"""

import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from benchmarks.message_flood import _packet, _text, _told, load, running
from benchmarks.table import Row
from contract import topics
from contract.keys import signer_of
from contract.macs import agreed_code
from contract.messages import ModelInterval, Telemetry, VersionRef
from contract.protocol import PROTOCOL
from contract.said import decode_said
from contract.signatures import sign_message
from contract.wire import encode
from controller.broker.configurations import USER
from controller.broker.inbox import Inbox
from controller.broker.process import find_mosquitto
from controller.fleet.twin import Twin
from controller.reconcile.decisions import reconcile
from controller.reconcile.fold import _add_vitals
from controller.reconcile.world import World
from controller.registry.credentials import Credential, Credentials
from controller.telemetry.counts import Counted
from controller.telemetry.store import TelemetryStore
from controller.telemetry.vitals import VitalsStore
from controller.trust.agreement import load_or_make_agreement, public_pem
from controller.trust.keys import private_pem
from controller.trust.senders import Senders

ROWS, TRANSACTION = 200_000, 500
PROVED = 1_500
"""Messages of one device, which its allowance of bytes at once covers."""
SMALL, LARGE = 100, 100_000
MESSAGES, ROUNDS = 5_000, 7
RATE, FLOOD_S, FLOODING = 10_000, 10.0, 2_000
SENT_RATE = 12_500
"""Messages a second that are sent: more than the bar, because the last of them need a moment to be stored."""
BATCHES = 100
MEETS_S = 4.0
"""Seconds in which every device sends its first message, before the flood."""
SETTLES_S = 3.0
"""Seconds without growth after which the store counts as settled."""
_INTERVAL = ModelInterval(
    model="m",
    version=VersionRef(release=1, digest="a" * 64),
    inferences=60,
    errors=0,
    labelled=60,
    correct=51,
    latency_counts=(0,) * 20 + (3, 30, 20, 6, 1),
)


def measure() -> list[Row]:
    """Returns the rows of this benchmark."""
    return [_store(), *_costs(), _vitals(), *_proofs(), *_flood(), _kills(int(os.environ.get("EDGEWARD_KILLS", "100")))]


def _message(device: str, seq: int, interval: ModelInterval = _INTERVAL) -> Telemetry:
    measured: dict[str, Any] = {"rss_mb": 91.5, "cpu_ratio": 0.21, "temperature_c": 48.5}
    return Telemetry(
        protocol=PROTOCOL, device=device, boot=1, seq=seq, interval_s=60.0, intervals=(interval,), **measured
    )


def _row(number: int) -> Counted:
    return Counted(f"d{number % 5000:05}", 1, number // 5000 + 1, 60.0 * (number // 5000), _INTERVAL)


def _store() -> Row:
    """Measures rows a second in transactions of `TRANSACTION`, each synced before it returns."""
    batches = [[_row(first + more) for more in range(TRANSACTION)] for first in range(0, ROWS, TRANSACTION)]
    with tempfile.TemporaryDirectory() as scratch:
        store = TelemetryStore(Path(scratch) / "telemetry.sqlite")
        began, used = time.perf_counter(), time.process_time()
        for batch in batches:
            store.keep(batch)
        took, cpu = time.perf_counter() - began, time.process_time() - used
        store.close()
    beside = f"the bar; {ROWS / cpu:.0f} a second of CPU; {load()}"
    return Row("rows into the store", ROWS / took, 100_000, "/s", beside, 1.0, at_least=True)


def _costs() -> list[Row]:
    """Measures the CPU for a message, decoded, folded and stored, with few and with many known devices; medians of
    rounds.
    """
    with tempfile.TemporaryDirectory() as scratch:
        fleets = [_Fleet(Path(scratch) / str(known), known) for known in (SMALL, LARGE)]
        pairs = [[fleet.cost_us() for fleet in fleets] for _ in range(ROUNDS)]
    few, many = (statistics.median(costs) for costs in zip(*pairs, strict=True))
    return [Row(f"a message with {LARGE} known devices", many, few, "us", f"{SMALL} known; {load()}", 1.2)]


class _Fleet:
    """A world with so many devices, of which the same hundred send messages."""

    def __init__(self, path: Path, known: int) -> None:
        self._world = World(silent_s=90.0)
        self._world.durable.twins.update({name: Twin(name) for name in (f"d{number:06}" for number in range(known))})
        self._store, self._vitals = TelemetryStore(path), VitalsStore(path.with_suffix(".vitals"))
        self._seq = 0
        reconcile(self._world, [], 0.0)

    def cost_us(self) -> float:
        """The CPU time for one message in microseconds."""
        inbox = []
        for number in range(MESSAGES):
            self._seq += number % 100 == 0
            name = f"d{number % 100:06}"
            inbox.append((name, encode(_message(name, self._seq))))
        began = time.process_time()
        for first in range(0, MESSAGES, TRANSACTION):
            heard = [(device, decode_said(body, Telemetry)[0]) for device, body in inbox[first : first + TRANSACTION]]
            changes = reconcile(self._world, heard, 60.0 * self._seq)
            self._store.keep(changes.measured)
            self._vitals.keep(changes.vitals)
        return 1e6 * (time.process_time() - began) / MESSAGES


def _vitals() -> Row:
    """Measures the CPU that the vitals add to a message: folded, and a fifth of a row written."""
    with tempfile.TemporaryDirectory() as scratch:
        world, store = World(silent_s=90.0), VitalsStore(Path(scratch) / "vitals.sqlite")
        messages = [(f"d{number % 1000:06}", _message("d", 1)) for number in range(50 * 1000)]
        costs = []
        for _ in range(ROUNDS):
            began = time.process_time()
            for minute in range(50):
                for device, message in messages[1000 * minute : 1000 * minute + 1000]:
                    _add_vitals(world, device, message, 60.0 * minute)
                closed, world.measured.closed_vitals = world.measured.closed_vitals, []
                store.keep(closed)
            costs.append(1e6 * (time.process_time() - began) / len(messages))
        store.close()
    return Row("of a message, its vitals", statistics.median(costs), 10.0, "us", f"a tenth of its cost; {load()}", 1.0)


def _proofs() -> list[Row]:
    """Measures the CPU for a message from its bytes into the inbox: with a signature, and with a code in its place."""
    key = ec.generate_private_key(ec.SECP256R1())
    with tempfile.TemporaryDirectory() as scratch:
        agreement = load_or_make_agreement(Path(scratch) / "agreement.pem")
    pem, public = private_pem(key), public_pem(key)
    sign, code = signer_of(pem), agreed_code(pem, agreement.public, "d")
    costs = []
    for proof in (code, sign):
        senders = Senders(_OneKey(public), require_signed=True, code=agreement.code)
        inbox = Inbox(senders, time.time)
        bodies = [encode(sign_message(_message("d", seq), proof)) for seq in range(PROVED)]
        began = time.process_time()
        heard = sum(inbox.put(topics.telemetry("d"), body) for body in bodies)
        costs.append(1e6 * (time.process_time() - began) / heard)
    return [Row("a message with a code, into the inbox", costs[0], costs[1], "us", f"with a signature; {load()}", 0.33)]


class _OneKey:
    """The key of every device."""

    def __init__(self, public: str) -> None:
        self._public = public

    def public_keys(self, _device: str, _now: float) -> list[str]:
        return [self._public]

    def enrolled(self, _device: str) -> bool:
        return True


def _flood() -> list[Row]:
    """Measures messages a second that a controller receives from a real Mosquitto, checks by their codes, folds and
    stores.
    """
    if find_mosquitto() is None:
        return []
    with running("--broker", "mosquitto") as (process, home, _):
        port = int(_told(home)["broker"].rpartition(":")[2])
        password = (home / "broker" / "password").read_text()
        digest = _register(home)
        _enrol(home)
        command = [sys.executable, "-m", "benchmarks.telemetry", str(port), password, str(FLOOD_S), str(home), digest]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as flooder:
            assert flooder.stdout is not None
            began, before, met = (
                float(flooder.stdout.readline()),
                process.cpu_times(),
                _count(home / "telemetry.sqlite"),
            )
            sent = int(flooder.stdout.read())
        stored = _settled(home / "telemetry.sqlite") - met
        took, used = time.monotonic() - began - SETTLES_S, process.cpu_times()
    cpu_us = 1e6 * (used.user + used.system - before.user - before.system) / max(stored, 1)
    beside = f"the bar; {stored} of {sent} stored; {load()}"
    return [
        Row("messages from Mosquitto, stored", stored / took, RATE, "/s", beside, 1.0, at_least=True),
        Row("CPU of the controller for each", cpu_us, 1e6 / RATE, "us", "one core at the bar's rate", 1.0),
    ]


def _enrol(home: Path) -> None:
    """Registers one key for every device that will flood."""
    key = ec.generate_private_key(ec.SECP256R1())
    (home / "device.key").write_bytes(private_pem(key))
    known = Credentials(home / "credentials.sqlite")
    for number in range(FLOODING):
        ends = time.time() + 86_400.0
        known.add_certificate(Credential(number + 1, f"flood-{number:05}", public_pem(key), ends, None))
    known.close()


def _settled(path: Path) -> int:
    """Returns the number of rows once it no longer grows."""
    count, since = -1, time.monotonic()
    while time.monotonic() - since < SETTLES_S:
        time.sleep(0.2)
        now = _count(path)
        if now != count:
            count, since = now, time.monotonic()
    return count


def _count(path: Path) -> int:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as found:
        return int(found.execute("SELECT count(*) FROM recent").fetchone()[0])


def _register(home: Path) -> str:
    """Pushes a version and returns its digest: telemetry about any other is not counted."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    from edgeward.client import Client

    rows = [[float(x), float(-x)] for x in range(60)]
    told = _told(home)
    model = LogisticRegression().fit(rows, [int(x > 30) for x in range(60)])
    client = Client(told["url"], (home / "token").read_text().strip())
    return client.push(model, name="m", sample=np.array(rows)).digest


def _kills(count: int) -> Row:
    """Counts rows that the store had reported as durable and that are missing after kill -9, over so many kills."""
    lost, first = 0.0, 1
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "telemetry.sqlite"
        for number in range(count):
            said = _killed(path, first, 0.02 + 0.001 * (number * 37 % 50))
            store = TelemetryStore(path)
            kept = sum(sums.inferences for _, _, _, sums in store.past("m", 0.0)) / _INTERVAL.inferences
            store.close()
            lost += max(0.0, said - kept)
            first = int(kept) + 1
    return Row(f"rows lost that were kept, {count} kills", lost, 0.0, "", "none", 0.0)


def _killed(path: Path, first: int, after_s: float) -> int:
    """Kills a writer so long after its first row; returns the newest row that it reported as kept.

    The writer is a fork, which has imported everything: a new interpreter would take longer than it writes.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        _write_until_killed(path, first, write_end)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as answers:
        said = answers.readline()
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
        lines = (said + answers.read()).split(b"\n")[:-1]
    os.waitpid(child, 0)
    return int(lines[-1])


def _write_until_killed(path: Path, first: int, write_end: int) -> None:
    store = TelemetryStore(path)
    for seq in range(first, first + 1_000_000):
        store.keep([Counted("d", 1, seq, 60.0 * seq, _INTERVAL)])
        store.tend(60.0 * seq)
        os.write(write_end, b"%d\n" % seq)


def main() -> None:
    """Floods from many devices, each with a code by its key, and prints the number of messages."""
    port, password, seconds, home = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), Path(sys.argv[4])
    interval = replace(_INTERVAL, version=VersionRef(release=1, digest=sys.argv[5]))
    made = _coded(
        int(seconds * SENT_RATE) + FLOODING, (home / "device.key").read_bytes(), home / "agreement.pem", interval
    )
    batch = SENT_RATE // BATCHES
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = _text("MQTT") + b"\x05\xc2\x00\x3c\x00"
        connection.sendall(_packet(0x10, head + _text("telemetry-flooder") + _text(USER) + _text(password)))
        assert connection.recv(64)[0] == 0x20, "the broker refuses"
        for first in range(0, FLOODING, batch):  # the first message of each device costs an agreement on its code
            connection.sendall(b"".join(made[first : first + batch]))
            time.sleep(MEETS_S * batch / FLOODING)
        del made[:FLOODING]
        began = time.monotonic()
        print(began, flush=True)
        for number, first in enumerate(range(0, len(made), batch)):
            time.sleep(max(0.0, began + number / BATCHES - time.monotonic()))
            connection.sendall(b"".join(made[first : first + batch]))
    print(len(made))


def _coded(count: int, key: bytes, agreement: Path, interval: ModelInterval) -> list[bytes]:
    """Packets of as many messages, made before the first is sent."""
    public, packets = load_or_make_agreement(agreement).public, []
    names = [f"flood-{number:05}" for number in range(FLOODING)]
    codes = [agreed_code(key, public, name) for name in names]
    for place in range(count):
        number = place % FLOODING
        said = encode(sign_message(_message(names[number], place // FLOODING + 1, interval), codes[number]))
        packets.append(_packet(0x30, _text(topics.telemetry(names[number])) + b"\x00" + said))
    return packets


if __name__ == "__main__":
    main()
