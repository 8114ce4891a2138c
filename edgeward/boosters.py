"""Estimators of XGBoost and LightGBM as data, alone or inside pipelines, so that they can be pushed like others.

Decides which of them can be sent, and the remedy for the others. Never imports either library: a caller with such
an estimator has done so.
"""

import copy
import tempfile
from pathlib import Path
from typing import Any

from contract.booster import BoosterFile
from contract.errors import BadInput, Code

MAX_DEPTH = 16
"""The depth of estimators inside one another that is searched."""


def with_booster_files(model: Any, depth: int = 0) -> Any:
    """Returns the model with every booster replaced by a `BoosterFile`; the model itself if it has none."""
    if isinstance(model, (list, tuple)) and not hasattr(model, "_fields"):
        parts = [with_booster_files(part, depth) for part in model]
        changed = any(part is not each for part, each in zip(parts, model, strict=True))
        return type(model)(parts) if changed else model
    if depth > MAX_DEPTH or not hasattr(model, "get_params") or isinstance(model, type):
        return model
    library = type(model).__module__.partition(".")[0]
    if library in ("xgboost", "lightgbm"):
        return _file_of(model, library)
    changed_parts = {}
    for name, value in vars(model).items():
        part = with_booster_files(value, depth + 1)
        if part is not value:
            changed_parts[name] = part
    if not changed_parts:
        return model
    made = copy.copy(model)
    made.__dict__.update(changed_parts)
    return made


def _file_of(model: Any, library: str) -> Any:
    """Returns the file of a fitted booster; an unfitted one is only a parameter and is sent as an empty file."""
    try:
        if library == "xgboost":
            document = bytes(model.get_booster().save_raw("json")).decode()
        else:
            document = model.booster_.model_to_string()
    except Exception:  # both libraries raise their own errors for unfitted boosters
        document = ""
    try:
        classes = getattr(model, "classes_", None)
    except Exception:
        classes = None
    if document and getattr(model, "early_stopping_rounds", None) and library == "xgboost":
        document = bytes(model.get_booster()[: model.best_iteration + 1].save_raw("json")).decode()
    return BoosterFile(library, document, classes)


def onnx_of_catboost(model: Any) -> bytes:
    """Returns the ONNX file that CatBoost writes itself. BadInput `request_invalid` with its words if it
    writes none.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.onnx"
        try:
            model.save_model(str(path), format="onnx")
            return path.read_bytes()
        except Exception as error:  # CatBoost raises its own errors, for example for categorical columns
            words = f"CatBoost writes no ONNX of this model: {error}. Encode its categories as numbers, and fit again"
            raise BadInput(Code.REQUEST_INVALID, words[:400]) from None


def refuse_raw_booster(model: Any) -> None:
    """Raises BadInput `request_invalid` for a bare Booster, which knows no classes: its estimator does."""
    library = type(model).__module__.partition(".")[0]
    if library in ("xgboost", "lightgbm") and type(model).__name__ == "Booster":
        name = "XGBClassifier or XGBRegressor" if library == "xgboost" else "LGBMClassifier or LGBMRegressor"
        raise BadInput(Code.REQUEST_INVALID, f"push the {name} that holds this Booster: it knows its classes")
