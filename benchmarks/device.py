"""A real agent process whose flash holds confirmed models. It serves them without a link to a broker."""

import http.client
import os
import subprocess
import sys
import time
from pathlib import Path

from agent.adapters.posix_disk import PosixDisk
from agent.core.model import Record
from agent.flash.store import Store
from benchmarks.swap import assignment_for
from contract.blobs import split
from firmware_sim.fleet_keys import TRUSTED

PORT = 8971
START_S = 30.0


def write_device(directory: Path, models: dict[str, bytes]) -> Path:
    """Writes a device's flash and configuration, as if it had confirmed these models. Returns the configuration's path.

    `models` are ONNX files by the model's name.
    """
    store = Store(PosixDisk(directory / "state"))
    for name, raw in models.items():
        assignment = assignment_for(raw, 1, name)
        artifact = assignment.manifest.artifact
        for index, chunk in enumerate(split(raw, artifact.chunk_bytes)):
            store.write_chunk(artifact, index, chunk)
        store.seal(artifact)
        store.save_record(name, Record(generation=1, stable=assignment))
    (directory / "root.json").write_text(TRUSTED.root, encoding="utf-8")
    config = directory / "agent.toml"
    text = f'[device]\nname = "bench"\nstate_dir = "{directory}/state"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n'
    config.write_text(f'{text}[serving]\nlisten = "127.0.0.1:{PORT}"\n', encoding="utf-8")
    return config


class Agent:
    """A process of `edgeward-agent run` on one core. It answers requests once the constructor returns."""

    def __init__(self, config: Path, core: int = 0) -> None:
        script = str(Path(sys.executable).with_name("edgeward-agent"))
        self.process = subprocess.Popen([script, "run", "-c", str(config)], stderr=subprocess.DEVNULL)
        os.sched_setaffinity(self.process.pid, {core})
        wait_for_answer("127.0.0.1", PORT, "/v2/health/ready")

    def __enter__(self) -> "Agent":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)


def wait_for_answer(host: str, port: int, path: str) -> None:
    """Returns at the first answer with status 200. TimeoutError if none comes within START_S."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            connection = http.client.HTTPConnection(host, port, timeout=1)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.005)
    raise TimeoutError(f"{host}:{port}{path} does not answer")


def cpu_s(pid: int) -> float:
    """Returns the CPU seconds that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Returns the resident memory of a process in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS"))
