"""A version as an MLflow model: a folder with `MLmodel` that `mlflow.pyfunc.load_model` loads and scores.

Decides the flavour, `onnx`, and how a signature is written. Source: mlflow.org/docs/latest/ml/model. Refuses to import
MLflow: the folder is files.
"""

import json
from typing import Any

import yaml

from contract.manifest import DATATYPES, Tensor
from edgeward.exports.exported import DESCRIBED, MODEL, Exported

_REQUIREMENTS = ("mlflow", "onnx", "onnxruntime", "numpy", "pandas")


def folder(exported: Exported) -> dict[str, bytes]:
    """Files of the folder by their paths."""
    environment = exported.version.environment
    python = environment.python if environment else "3.11"
    conda = {
        "name": "mlflow-env", "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": list(_REQUIREMENTS)}],
    }  # fmt: skip
    virtual = {"python": python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    return {
        **exported.files,
        DESCRIBED: exported.described,
        "MLmodel": _yaml(_described(exported, python)),
        "conda.yaml": _yaml(conda),
        "python_env.yaml": _yaml(virtual),
        "requirements.txt": "\n".join(_REQUIREMENTS).encode() + b"\n",
    }


def _described(exported: Exported, python: str) -> dict[str, Any]:
    version = exported.version
    manifest = exported.manifest
    loader = {
        "loader_module": "mlflow.onnx", "data": MODEL, "python_version": python,
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
    }  # fmt: skip
    onnx = {"onnx_version": version.lineage.libraries.get("onnx", "unknown"), "data": MODEL, "code": None}
    providers = {"providers": ["CPUExecutionProvider"], "onnx_session_options": None}
    return {
        "artifact_path": version.model,
        "flavors": {"onnx": onnx | providers, "python_function": loader},
        "model_uuid": version.digest[:32],
        "utc_time_created": version.created_at.strftime("%Y-%m-%d %H:%M:%S.%f"),
        "signature": {"inputs": _tensors(manifest.inputs), "outputs": _tensors(manifest.outputs), "params": None},
        "metadata": {
            "edgeward_model": version.model,
            "edgeward_release": version.release,
            "edgeward_semver": version.semver,
            **{f"metric.{name}": number for name, number in version.metrics.items()},
        },
    }


def _tensors(tensors: tuple[Tensor, ...]) -> str:
    described = [
        {
            "name": each.name,
            "type": "tensor",
            "tensor-spec": {"dtype": DATATYPES[each.datatype], "shape": list(each.shape)},
        }
        for each in tensors
    ]
    return json.dumps(described)


def _yaml(found: dict[str, Any]) -> bytes:
    made: str = yaml.safe_dump(found, sort_keys=False, allow_unicode=True)
    return made.encode()
