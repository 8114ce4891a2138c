"""The target `edgeward` of `mlflow deployments`: a deployment is a model of a fleet, and its creation is a rollout.

Decides what MLflow's verbs mean here. MLflow finds this module by its entry point; nothing else imports it. Source:
mlflow.org/docs/latest/plugins, `mlflow.deployments`.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow.artifacts
import numpy as np
from mlflow.deployments import BaseDeploymentClient
from mlflow.exceptions import MlflowException

from contract.errors import EdgewardError
from edgeward.answers.rollouts import Rollout, RolloutSummary
from edgeward.client import Client
from edgeward.csv_rows import read_csv
from edgeward.settings import find_settings

_HELP = """edgeward: rolls a model out to a fleet of edge devices, in waves.

  mlflow deployments create -t edgeward --name weather -m models:/weather@champion \\
      -C sample=rows.csv -C strategy=canary -C site=oslo

The target is `edgeward` (the controller is found as by the command edgeward: EDGEWARD_URL and EDGEWARD_TOKEN, or a
local one) or `edgeward:http://host:port` with EDGEWARD_TOKEN. Options by -C: `sample`, a .csv or .parquet with rows as
devices see them (else the model's input example); `strategy` (default: canary); any other is a label of devices.
get shows the newest rollout; update rolls another version out; delete aborts a rollout that runs, so that devices go
back; predict answers rows by the version that the newest rollout brings, with onnxruntime.
"""


def target_help() -> str:
    """What `mlflow deployments help -t edgeward` prints."""
    return _HELP


def run_local(target: str, name: str, model_uri: str, flavor: str | None = None, config: Any = None) -> None:
    """Refuses: a fleet on this machine is `edgeward demo`."""
    raise MlflowException("a fleet on this machine: `edgeward demo`")


class EdgewardDeploymentClient(BaseDeploymentClient):  # type: ignore[misc]  # MLflow has no types
    """MLflow's verbs over Edgeward's client."""

    def __init__(self, target_uri: str) -> None:
        super().__init__(target_uri=target_uri)
        url = target_uri.partition(":")[2].removeprefix("/")
        self._client = Client(find_settings(url or None).url, None)

    def create_deployment(
        self, name: str, model_uri: str, flavor: str | None = None, config: Any = None, endpoint: str | None = None
    ) -> dict[str, Any]:
        """Pushes a model as the next version of `name` and starts its rollout."""
        options = dict(config or {})
        sample, strategy = options.pop("sample", None), options.pop("strategy", "canary")
        with _as_mlflow(), tempfile.TemporaryDirectory(prefix="edgeward-mlflow-") as scratch:
            folder = mlflow.artifacts.download_artifacts(artifact_uri=model_uri, dst_path=scratch)
            pushed = self._client.push(Path(folder), name=name, sample=_rows(sample), tags={"mlflow": model_uri[:200]})
            handle = self._client.rollout(name, release=pushed.release, strategy=strategy, selector=options)
            return {"flavor": "onnx", **_shown(handle.show())}

    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: Any = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Rolls another version out."""
        if model_uri is None:
            raise MlflowException("update needs the model: -m models:/name@alias")
        return self.create_deployment(name, model_uri, flavor, config)

    def delete_deployment(self, name: str, config: Any = None, endpoint: str | None = None) -> None:
        """Aborts an open rollout of the model; one that has ended stays as it is. Repeating it does no harm."""
        with _as_mlflow():
            for each in self._rollouts(name):
                if each.status in ("running", "paused"):
                    self._client.open_rollout(each.id).abort()

    def list_deployments(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """The newest rollout of each model."""
        with _as_mlflow():
            newest = {each.model: each for each in reversed(list(self._client.rollouts()))}
            return [_shown(each) for each in newest.values()]

    def get_deployment(self, name: str, endpoint: str | None = None) -> dict[str, Any]:
        """The newest rollout of a model."""
        with _as_mlflow():
            return _shown(self._newest(name))

    def predict(self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None) -> Any:
        """Answers rows with the artifact that devices get, on this machine: a DataFrame with a column for
        each output.
        """
        import onnxruntime
        import pandas as pd

        from contract.manifest import Manifest
        from edgeward.answers.answer import read

        with _as_mlflow():
            newest = self._newest(deployment_name or "")
            manifest = read(self._client.version(newest.model, newest.release).manifest, Manifest)
            session = onnxruntime.InferenceSession(self._client.artifact_bytes(manifest.artifact.sha256))
        answers = session.run(None, _feeds(session, pd.DataFrame(inputs)))
        names = [each.name for each in session.get_outputs()]
        return pd.DataFrame({name: list(found) for name, found in zip(names, answers, strict=True)})

    def _rollouts(self, name: str) -> list[RolloutSummary]:
        return list(self._client.rollouts(model=name))

    def _newest(self, name: str) -> RolloutSummary:
        found = self._rollouts(name)
        if not found:
            raise MlflowException(f"no rollout of {name}: see `edgeward rollout list`")
        return found[0]


def _feeds(session: Any, rows: Any) -> dict[str, Any]:
    """Returns rows as the inputs of a session: one matrix, or a column for each input."""
    wanted = session.get_inputs()
    types = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}
    if len(wanted) == 1:
        return {wanted[0].name: rows.to_numpy(types.get(wanted[0].type, np.float32))}
    return {
        each.name: rows[each.name].to_numpy(types.get(each.type, object)).reshape(-1, 1) for each in wanted
    }  # fmt: skip


def _rows(place: str | None) -> Any:
    if place is None:
        return None
    import pandas as pd

    return pd.read_parquet(place) if place.endswith(".parquet") else read_csv(place)


def _shown(rollout: Rollout | RolloutSummary) -> dict[str, Any]:
    plain = rollout.plain
    kept = ("model", "release", "strategy", "status", "reason")
    return {"name": rollout.model, "rollout": rollout.id} | {key: plain[key] for key in kept if key in plain}


@contextmanager
def _as_mlflow() -> Iterator[None]:
    """Converts Edgeward's errors to MLflow's, so that its command prints them."""
    try:
        yield
    except EdgewardError as error:
        raise MlflowException(f"{error.code}: {error.detail}") from error
