"""Bytes on the wire for a new version of a model, by kind of change: Edgeward's encoding, raw, zstd, zstd's patch
and bsdiff.

Each row is a pair of real ONNX files as the controller converts them.
"""

import time
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.models import FEATURES, as_onnx, fitted
from controller.convert.variants import make_variant
from controller.encode.encode import encode_artifact


def pairs() -> dict[str, tuple[bytes, bytes]]:
    """Returns (the ONNX file that a device has, the new one) by kind of change."""
    found = {
        "forest, full retrain": (as_onnx(fitted("forest-100")), as_onnx(fitted("forest-100", seed=1))),
        "forest, 5 % more trees": _warm_forest(),
        "boosted trees, 10 more rounds": _warm_boosted(),
        "network, full retrain": (as_onnx(fitted("mlp-20MB")), as_onnx(fitted("mlp-20MB", seed=1))),
    }
    network = fitted("mlp-20MB")
    before = as_onnx(network)
    found["network, all weights tuned"] = (before, _tuned(network, slice(None)))
    found["network, last layer tuned"] = (before, _tuned(network, slice(-1, None)))
    quantised = make_variant(before, "int8")
    assert quantised is not None
    found["network, quantised variant"] = (before, quantised)
    return found


def _data(seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(6000, FEATURES)).astype(np.float32)
    return features, (features[:, :3].sum(axis=1) + rng.normal(size=6000) > 0).astype(int)


def _warm_forest() -> tuple[bytes, bytes]:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(100, random_state=0, warm_start=True, n_jobs=2).fit(*_data(0))
    before = as_onnx(forest)
    return before, as_onnx(forest.set_params(n_estimators=105).fit(*_data(0)))


def _warm_boosted() -> tuple[bytes, bytes]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(max_iter=100, random_state=0, warm_start=True, early_stopping=False).fit(
        *_data(0)
    )
    before = as_onnx(model)
    return before, as_onnx(model.set_params(max_iter=110).fit(*_data(0)))


def _tuned(network: Any, layers: slice) -> bytes:
    """Returns the network as ONNX after small random changes to the weights of these layers."""
    from copy import deepcopy

    rng, tuned = np.random.default_rng(2), deepcopy(network)
    for weights in tuned.coefs_[layers]:
        weights[:] += (rng.normal(size=weights.shape) * 1e-3 * np.abs(weights)).astype(weights.dtype)
    return as_onnx(tuned)


def zstd_19(data: bytes) -> int:
    """Returns the size in bytes of the whole file, compressed by zstd at level 19."""
    from backports import zstd

    return len(zstd.compress(data, level=19))


def zstd_patch(base: bytes, data: bytes) -> int:
    """Returns the size in bytes of zstd's own patch, which uses the base as a prefix."""
    from backports import zstd

    parameters = zstd.CompressionParameter
    options = {
        parameters.compression_level: 19,
        parameters.window_log: 27,
        parameters.enable_long_distance_matching: 1,
    }
    prefix = zstd.ZstdDict(base, is_raw=True).as_prefix
    return len(zstd.compress(data, options=options, zstd_dict=prefix))


def bsdiff(base: bytes, data: bytes) -> int:
    """Returns the size in bytes of bsdiff4's patch."""
    import bsdiff4

    return len(bsdiff4.diff(base, data))


def rows() -> list[dict[str, Any]]:
    """Returns sizes in bytes and the time to encode, one row for each pair.

    SystemExit if the libraries for the comparison are not installed.
    """
    if missing := [name for name in ("backports", "bsdiff4") if find_spec(name) is None]:
        raise SystemExit(f"{' and '.join(missing)} not installed: pip install -e '.[bench]' in this environment first")
    found = []
    for name, (base, data) in pairs().items():
        began = time.perf_counter()
        alone, delta = encode_artifact(data), encode_artifact(data, base)
        took_s = time.perf_counter() - began
        found.append(
            {
                "name": name,
                "raw": len(data),
                "zstd-19": zstd_19(data),
                "zstd patch": zstd_patch(base, data),
                "bsdiff4": bsdiff(base, data),
                "ours": min(len(alone), len(delta)),
                "encode_s": took_s,
            }
        )
    return found
