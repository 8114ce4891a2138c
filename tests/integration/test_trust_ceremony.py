"""People keep the root, targets and release keys, so that the controller cannot sign a model by itself.

Real processes, a real broker, the real commands.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contract.errors import BadInput, Code
from edgeward.client import Client
from edgeward.demo.models import train_better, train_first
from edgeward.demo.processes import Site, wait_for

pytestmark = pytest.mark.broker
EDGEWARD = Path(sys.executable).with_name("edgeward")
QUICK = {"name": "quick", "waves": [{"percent": 100}], "trial": {"soak_s": "0.3", "min_samples": 10}}


def edgeward(site: Site, *arguments: object) -> str:
    environment = {**os.environ, "EDGEWARD_DATA_DIR": str(site.data_dir), "COLUMNS": "200"}
    command = [str(EDGEWARD), "trust", *(str(argument) for argument in arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(180)
def test_a_fleet_with_a_release_key_on_another_machine_runs_an_update(tmp_path: Path) -> None:
    keys = tmp_path / "ceremony"
    site = Site(tmp_path / "site", controller_tables=f'\n[trust]\nmetadata_dir = "{keys / "metadata"}"\n')
    assert "2 of 3" in edgeward(site, "init", keys)
    shutil.copytree(keys / "controller", site.data_dir / "keys")
    try:
        client = site.start_controller()
        agent = site.start_agent(1)
        wait_for("the device", lambda: client.devices() or None, agent)
        model, sample = train_first()
        client.push(model, name="weather", sample=sample)
        with pytest.raises(BadInput) as refused:
            client.rollout("weather", strategy=QUICK)
        assert refused.value.code == Code.NOT_SIGNED
        assert "weather v1 wait for a signature" in edgeward(site, "status")

        offline = keys / "offline"
        signed = edgeward(
            site, "sign", "weather", "--key", offline / "release.pem", "--targets-key", offline / "targets.pem"
        )
        assert "NEW" in signed
        assert "vouched for v1" in signed
        assert client.rollout("weather", strategy=QUICK).wait(timeout_s=60).status == "completed"

        rotated_and_still_followed(site, client, keys)
        refusals = [entry.report.refusal for entry in client.device("device-1").history if entry.report.refusal]
        assert refusals == []
    finally:
        site.stop()


def rotated_and_still_followed(site: Site, client: Client, keys: Path) -> None:
    """Every replaceable key is replaced, and a device that trusts the first root accepts the new keys."""
    offline = keys / "offline"
    for role in ("director", "timestamp", "snapshot", "targets", "root-2"):
        assert "from now on" in edgeward(site, "rotate", role, "--keys", offline)
    model, sample = train_better()
    client.push(model, name="weather", sample=sample)
    sign = ("sign", "weather", "--key", offline / "release.pem", "--min-release", 2)
    assert "v1, v2" in edgeward(site, *sign)
    assert client.rollout("weather", strategy=QUICK).wait(timeout_s=60).status == "completed"
    assert "verified" in edgeward(site, "verify", "--root", keys / "metadata" / "1.root.json")
    roles = {row.role: row for row in client.trust().roles}
    assert roles["root"].version == 5
    with pytest.raises(BadInput) as refused:
        client.offer_metadata({"targets.json": client.trust().files["targets.json"].replace("desired", "desirex")})
    assert refused.value.code == Code.SIGNATURE_INVALID
