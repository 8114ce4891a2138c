"""An MLflow model in a folder, by its file `MLmodel`: which of its files is the model, and its example rows.

Decides which flavours are read: onnx, sklearn, xgboost, lightgbm, each in a form that is data. A pickle is code and is
never read. Source: mlflow.org/docs/latest/ml/model. Refuses to import MLflow.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from contract.errors import BadInput, Code
from contract.tensors import Array

Read = Callable[[str], bytes]
_INSTEAD = {
    "catboost": "load it with mlflow.catboost.load_model, and push the live model, which CatBoost writes as ONNX",
    "pytorch": "it is a pickle: load it with mlflow.pytorch.load_model where you trust it, and push the live module",
    "keras": "it may hold code: load it with mlflow.keras.load_model where you trust it, and push the live model",
    "tensorflow": "export it to ONNX where it lives, with tf2onnx, and push the ONNX file",
    "sklearn": "log it with serialization_format='skops'; a pickle is not taken",
    "xgboost": "log it with model_format='ubj' or 'json'; a pickle is not taken",
    "lightgbm": "log its booster_, which MLflow keeps as text; a pickle is not taken",
}
"""By flavour, what to do where its files are not read: the most special flavour first."""
_ADVICE = "log it with mlflow.onnx, or load it where you trust it, and push the live model; code is not taken"


def model_of(directory: Path, read: Read) -> tuple[Literal["skops", "onnx"], bytes]:
    """Returns (kind, bytes) of the model, by the first flavour that contains no code. BadInput `request_invalid`."""
    raw = read("MLmodel")
    try:
        flavours: Mapping[str, Any] = yaml.safe_load(raw)["flavors"]
        if "onnx" in flavours:
            return "onnx", read(str(flavours["onnx"]["data"]))
        for name, key in (("sklearn", "pickled_model"), ("lightgbm", "data"), ("xgboost", "data")):
            flavour = flavours.get(name)
            if flavour is not None and str(flavour.get("serialization_format")) == "skops":
                return "skops", read(str(flavour[key]))
        for name, load in (("xgboost", _load_xgboost), ("lightgbm", _load_lightgbm)):
            flavour = flavours.get(name)
            if flavour is not None and not str(flavour["data"]).endswith((".pkl", ".pickle")):
                read(str(flavour["data"]))  # refuses paths outside the folder
                return _encoded(load(directory / str(flavour["data"]), str(flavour.get("model_class", ""))))
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(Code.REQUEST_INVALID, f"MLmodel cannot be read: {type(error).__name__}: {error}"[:300]) from None
    names = ", ".join(map(str, flavours))
    advice = next((advice for name, advice in _INSTEAD.items() if name in flavours), _ADVICE)
    raise BadInput(Code.REQUEST_INVALID, f"MLmodel has the flavours {names}. Remedy: {advice}")


def example_rows(directory: Path, read: Read) -> Array | dict[str, Array] | None:
    """Returns the rows that were logged as an example: columns by name, or a matrix; None without one."""
    told: Any = (yaml.safe_load(read("MLmodel")) or {}).get("saved_input_example_info") or {}
    name = str(told.get("artifact_path", ""))
    if told.get("type") not in ("dataframe", "ndarray") or not (directory / name).is_file():
        return None
    try:
        found = json.loads(read(name))
        if told["type"] == "ndarray":
            rows = np.asarray(found["inputs"] if isinstance(found, dict) else found)
            return rows if rows.ndim >= 2 and rows.dtype.kind in "fiub" else None
        columns = list(zip(*found["data"], strict=True))
        return {str(key): np.asarray(column) for key, column in zip(found["columns"], columns, strict=True)}
    except (ValueError, KeyError, TypeError):
        return None


def _load_xgboost(path: Path, model_class: str) -> Any:
    try:
        import xgboost
    except ImportError:
        raise _missing("xgboost") from None
    model = getattr(xgboost, model_class.rpartition(".")[2] or "Booster")()
    model.load_model(path)
    return model


def _load_lightgbm(path: Path, model_class: str) -> Any:
    try:
        import lightgbm
    except ImportError:
        raise _missing("lightgbm") from None
    return lightgbm.Booster(model_file=str(path))


def _encoded(model: Any) -> tuple[Literal["skops", "onnx"], bytes]:
    from edgeward.encode import encode_model

    return encode_model(model)


def _missing(library: str) -> BadInput:
    words = f"MLmodel has the flavour {library}, which is not installed here: pip install {library}"
    return BadInput(Code.CONFIG_INVALID, words)
