"""Encodes estimators and samples for a push: estimators as skops and never pickle, ONNX unchanged, rows as plain
arrays.

Decides what can be pushed. Refuses to know HTTP.
"""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from contract.errors import BadInput, Code
from contract.model_size import refuse_large
from contract.onnx_scan import scan_onnx
from contract.samples import encode_sample
from contract.tensors import Array
from edgeward.boosters import onnx_of_catboost, refuse_raw_booster, with_booster_files
from edgeward.exports.addresses import is_address

Kind = Literal["skops", "onnx"]
TEXTS = "text"
"""The name of the column that a list of texts without a name becomes."""
_MISSING_TYPES = frozenset({"NAType", "NaTType"})
"""pandas' own types of missing cells; pandas itself is not imported for them."""


def encode_model(model: Any) -> tuple[Kind, bytes]:
    """Returns (kind, bytes) of a fitted estimator, ONNX bytes, an `onnx.ModelProto`, or a path to .onnx or .skops.

    BadInput `request_invalid` for anything else, or a file that cannot be read.
    """
    if isinstance(model, str | Path):
        return _from_file(Path(model))
    if isinstance(model, bytes):
        return "onnx", model
    if hasattr(model, "SerializeToString"):
        return "onnx", model.SerializeToString()
    refuse_raw_booster(model)
    if type(model).__module__.partition(".")[0] == "catboost":
        return "onnx", onnx_of_catboost(model)
    if not hasattr(model, "get_params"):
        raise BadInput(
            Code.REQUEST_INVALID,
            f"{type(model).__name__} is no scikit-learn estimator: pass one, a live network of PyTorch or Keras, ONNX "
            "bytes, or a path to .onnx or .skops",
        )
    import skops.io

    return "skops", skops.io.dumps(with_booster_files(model))


def encode_model_and_rows(model: Any, sample: Any) -> tuple[Kind, bytes, bytes]:
    """Returns (kind, bytes, encoded sample) of a model as `encode_model`, of the path of a folder, or of MLflow's
    address.

    BadInput `sample_missing` if neither the caller nor the folder has rows.
    """
    if isinstance(model, str) and is_address(model):
        return _from_mlflow(model, sample)
    if isinstance(model, str | Path) and Path(model).is_dir():
        from edgeward.exports.folders import read_folder  # yaml takes 30 ms to import, and few models are folders

        found = read_folder(Path(model))
        kind, raw, sample = found.kind, found.model, found.sample if sample is None else sample
    else:
        kind, raw = encode_model(model)
    if sample is None:
        raise BadInput(Code.SAMPLE_MISSING, "parity needs rows as devices will see them: pass sample=")
    return kind, raw, encode_rows(sample)


def _from_mlflow(address: str, sample: Any) -> tuple[Kind, bytes, bytes]:
    from edgeward.exports.mlflow_server import fetch_model

    with tempfile.TemporaryDirectory(prefix="edgeward-mlflow-") as scratch:
        return encode_model_and_rows(fetch_model(address, Path(scratch)), sample)


def encode_rows(sample: Any) -> bytes:
    """Encodes rows: one array (rows, ...), columns (a DataFrame), or arrays by name (a dict, an opened .npz).

    A list or Series of texts is one column, with the name of the Series or `text`. BadInput `sample_missing` for other
    shapes and types.
    """
    if hasattr(sample, "columns") and hasattr(sample, "to_numpy"):
        return encode_sample({str(name): _plain(sample[name].to_numpy()) for name in sample.columns})
    if isinstance(sample, Mapping):
        return encode_sample({str(name): _plain(np.asarray(array)) for name, array in sample.items()})
    rows = np.asarray(sample)
    if rows.ndim == 1 and _is_text(rows):
        return encode_sample({str(getattr(sample, "name", None) or TEXTS): _plain(rows)})
    if rows.ndim < 2 or rows.dtype.kind not in "fiub":
        raise BadInput(
            Code.SAMPLE_MISSING,
            f"sample has shape {rows.shape} and type {rows.dtype}: pass a DataFrame, an array of numbers (rows, "
            "features) as devices will see them, texts, or arrays by input name, whose first axis counts rows",
        )
    return encode_sample(rows)


_LOAD = "load it where it was made, and pass {} to Client.push"
_REMEDIES = {
    **dict.fromkeys((".pt", ".pth", ".pt2"), _LOAD.format("the module")),
    **dict.fromkeys((".keras", ".h5"), _LOAD.format("the keras.Model")),
    **dict.fromkeys((".ubj", ".json", ".txt", ".cbm"), _LOAD.format("the estimator of XGBoost, LightGBM or CatBoost")),
}
"""What to do with the files of other frameworks, by suffix."""


def _is_text(rows: Array) -> bool:
    """Whether a list holds texts, of which some may be missing."""
    return rows.dtype.kind == "U" or (rows.dtype == object and any(isinstance(cell, str) for cell in rows.tolist()))


def _from_file(path: Path) -> tuple[Kind, bytes]:
    kinds: dict[str, Kind] = {".onnx": "onnx", ".skops": "skops"}
    kind = kinds.get(path.suffix)
    if kind is None:
        remedy = _REMEDIES.get(path.suffix, "a pickle is code and is not taken (save with skops.io.dump instead)")
        raise BadInput(Code.REQUEST_INVALID, f"{path}: push .onnx or .skops; {remedy}")
    try:
        refuse_large(path.stat().st_size, str(path))
        raw = path.read_bytes()
        return kind, _with_external_data(path, raw) if kind == "onnx" else raw
    except OSError as error:
        raise BadInput(Code.REQUEST_INVALID, f"{path}: {error.strerror}") from None


def _with_external_data(path: Path, raw: bytes) -> bytes:
    """The bytes of an ONNX file, with the weights that it keeps in files beside it."""
    try:
        scan_onnx(raw)
    except BadInput as error:
        if "external data" not in error.detail:
            return raw  # the controller reports what is wrong with it
    else:
        return raw
    try:
        import onnx  # only such files need it, and it is no dependency of the client
    except ImportError:
        words = f"{path} keeps its weights in files beside it: pip install onnx, so that they can be folded into it"
        raise BadInput(Code.REQUEST_INVALID, words) from None
    try:
        model = onnx.load(path)
        refuse_large(
            sum(len(tensor.raw_data) for tensor in model.graph.initializer), f"{path} with the files beside it"
        )
        return bytes(model.SerializeToString())
    except BadInput:
        raise
    except Exception as error:  # onnx raises its own errors for files that are missing or elsewhere
        words = f"{path} keeps its weights in files beside it, which cannot be read: {type(error).__name__}: {error}"
        raise BadInput(Code.REQUEST_INVALID, words[:400]) from None


def _plain(column: Array) -> Array:
    """A column as numbers, or as text in which a missing cell stays None or NaN."""
    if column.dtype.kind in "fiub":
        return column
    if column.dtype.kind != "O" or column.ndim != 1:
        return column.astype(np.str_)
    cells = [float("nan") if type(cell).__name__ in _MISSING_TYPES else cell for cell in column.tolist()]
    there = [cell for cell in cells if not (cell is None or (isinstance(cell, float) and math.isnan(cell)))]
    if all(isinstance(cell, bool | int | float) for cell in there):
        return np.array([float("nan") if cell is None else cell for cell in cells], dtype=np.float64)
    kept = [cell if cell is None or isinstance(cell, float | str) else str(cell) for cell in cells]
    made = np.empty(len(kept), dtype=object)
    made[:] = [cell if cell is None or isinstance(cell, str) or math.isnan(cell) else str(cell) for cell in kept]
    return made
