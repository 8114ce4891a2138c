"""With a real MLflow server: it records runs, its models are pushed, and its deployments are rollouts."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

import edgeward
from contract.errors import BadInput
from controller.broker.configurations import free_port
from edgeward.demo.processes import Process, Site, wait_for
from edgeward.exports.folders import read_folder
from edgeward.exports.mlflow_server import fetch_model

TOOLS = Path(__file__).parents[2] / ".venv" / "tools" / "bin"
pytestmark = [
    pytest.mark.broker,
    pytest.mark.soak,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not (TOOLS / "mlflow").exists(), reason="no MLflow here: make export-tools"),
]
LOG_MODEL = """
import mlflow, numpy
from sklearn.linear_model import LogisticRegression
rows = numpy.random.default_rng(0).normal(size=(300, 2)).astype("float32")
model = LogisticRegression().fit(rows, rows.sum(axis=1) > 0)
with mlflow.start_run():
    mlflow.sklearn.log_model(model, name="model", registered_model_name="rain", input_example=rows)
mlflow.MlflowClient().set_registered_model_alias("rain", "champion", "1")
"""
DEPLOY = """
import json, sys
from mlflow.deployments import get_deploy_client
client = get_deploy_client("edgeward")
made = client.create_deployment("rain", "models:/rain@champion", config={"strategy": "all_at_once"})
listed = [each["name"] for each in client.list_deployments()]
answers = client.predict("rain", [[1.0, 1.0], [-1.0, -1.0]])
print(json.dumps([made, listed, [int(each) for each in answers.iloc[:, 0]], client.get_deployment("rain")]))
try:
    client.get_deployment("snow")
except Exception as error:
    print(json.dumps(str(error)))
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    port = free_port()
    command = [
        str(TOOLS / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db",
        "--artifacts-destination", str(tmp_path / "artifacts"),
    ]  # fmt: skip
    process = Process("mlflow", command, tmp_path / "mlflow.log")
    process.start()
    uri = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    try:
        wait_for("MLflow", lambda: answers(uri), process, within_s=120)
        yield uri
    finally:
        process.stop()


def answers(uri: str) -> bool:
    try:
        return urllib3.request("GET", f"{uri}/health", retries=False, timeout=2).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def asked(uri: str, path: str) -> Any:
    return json.loads(urllib3.request("GET", f"{uri}/api/2.0/mlflow/{path}").data)


def told_by_tools(script: str, **variables: str) -> list[Any]:
    done = subprocess.run(
        [TOOLS / "python", "-W", "ignore", "-c", script], capture_output=True, text=True, env=os.environ | variables
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(("[", '"'))]


def test_a_run_is_recorded_a_model_is_fetched_and_a_deployment_is_a_rollout(server: str, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with edgeward.run("rain", params={"depth": 3}, directory=runs) as run:
        for step in range(1500):  # more than one batch
            run.log_metric("loss", 1 / (step + 1))
        run.artifact(b"hello", "greeting.txt")
    experiment = asked(server, "experiments/get-by-name?experiment_name=rain")["experiment"]["experiment_id"]
    wanted = {"experiment_ids": [experiment]}
    found = urllib3.request("POST", f"{server}/api/2.0/mlflow/runs/search", json=wanted).json()["runs"][0]
    assert found["info"]["status"] == "FINISHED"
    assert found["data"]["params"] == [{"key": "depth", "value": "3"}]
    identifier = found["info"]["run_id"]
    points = asked(server, f"metrics/get-history?run_id={identifier}&metric_key=loss&max_results=2000")["metrics"]
    assert len(points) == 1500
    assert [each["path"] for each in asked(server, f"artifacts/list?run_id={identifier}")["files"]] == ["greeting.txt"]

    told_by_tools(LOG_MODEL)
    for number, address in enumerate(("models:/rain@champion", "models:/rain/1", "models:/rain/latest")):
        folder = tmp_path / f"fetched{number}"
        folder.mkdir()
        assert read_folder(fetch_model(address, folder)).kind == "skops"
    with pytest.raises(BadInput, match="alias nobody not found"):
        fetch_model("models:/rain@nobody", tmp_path)

    site = Site(tmp_path / "site")
    try:
        client = site.start_controller()
        site.start_agent(1)
        wait_for("the device", lambda: client.devices() or None)
        data_dir = str(site.data_dir)
        (made, listed, labels, shown), missing = told_by_tools(DEPLOY, EDGEWARD_DATA_DIR=data_dir)
        assert (made["name"], made["flavor"], made["release"], listed) == ("rain", "onnx", 1, ["rain"])
        assert labels == [1, 0]
        assert shown["rollout"] == made["rollout"] == client.rollouts()[0].id
        assert "no rollout of snow" in missing
        wait_for("the model on the device", lambda: client.version("rain", 1).devices or None)
    finally:
        site.stop()


def test_an_unreachable_server_adds_one_line_to_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with edgeward.run("rain", directory=tmp_path) as run:
        run.log_metric("loss", 1.0)
    assert capsys.readouterr().err.count("MLflow at http://127.0.0.1:9 is told nothing more") == 1
    assert run.record.status == "finished"
