"""Estimators and samples into bytes: skops instead of pickle, ONNX as it is, rows as plain arrays.

Decides what can be sent. Refuses to know HTTP.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from contract.errors import BadInput, Code
from contract.samples import encode_sample
from contract.tensors import Array

Kind = Literal["skops", "onnx"]


def encode_model(model: Any) -> tuple[Kind, bytes]:
    """(kind, bytes) of a fitted estimator, ONNX bytes, an `onnx.ModelProto`, or a path to .onnx or .skops."""
    if isinstance(model, str | Path):
        return _from_file(Path(model))
    if isinstance(model, bytes):
        return "onnx", model
    if hasattr(model, "SerializeToString"):
        return "onnx", model.SerializeToString()
    if not hasattr(model, "get_params"):
        raise BadInput(
            Code.REQUEST_INVALID,
            f"{type(model).__name__} is no scikit-learn estimator: pass one, ONNX bytes, or a path to .onnx or .skops",
        )
    import skops.io

    return "skops", skops.io.dumps(model)


def encode_rows(sample: Any) -> bytes:
    """Rows as one array (rows, ...), as columns (a DataFrame), or as arrays by name (a dict, an opened .npz)."""
    if hasattr(sample, "columns") and hasattr(sample, "to_numpy"):
        return encode_sample({str(name): _plain(sample[name].to_numpy()) for name in sample.columns})
    if isinstance(sample, Mapping):
        return encode_sample({str(name): _plain(np.asarray(array)) for name, array in sample.items()})
    rows = np.asarray(sample)
    if rows.ndim < 2 or rows.dtype.kind not in "fiub":
        raise BadInput(
            Code.SAMPLE_MISSING,
            f"sample has shape {rows.shape} and type {rows.dtype}: pass a DataFrame, an array of numbers (rows, "
            "features) as devices will see them, or arrays by input name, whose first axis counts rows",
        )
    return encode_sample(rows)


def _from_file(path: Path) -> tuple[Kind, bytes]:
    kinds: dict[str, Kind] = {".onnx": "onnx", ".skops": "skops"}
    kind = kinds.get(path.suffix)
    if kind is None:
        raise BadInput(
            Code.REQUEST_INVALID,
            f"{path}: push .onnx or .skops; a pickle is code and is not taken (save with skops.io.dump instead)",
        )
    try:
        return kind, path.read_bytes()
    except OSError as error:
        raise BadInput(Code.REQUEST_INVALID, f"{path}: {error.strerror}") from None


def _plain(column: Array) -> Array:
    return column.astype(np.str_) if column.dtype.kind not in "fiub" else column
