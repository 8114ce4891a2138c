"""Models of several kinds and sizes, as fitted estimators and as ONNX."""

from typing import Any

import numpy as np

FEATURES = 20


def fitted(kind: str, seed: int = 0) -> Any:
    """Fits a binary classifier on 6,000 rows of FEATURES float32 columns.

    `kind` is `logreg`, `boosted`, `mlp`, `mlp-20MB`, or `forest-N` for N trees.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    rng = np.random.default_rng(seed)
    features = rng.normal(size=(6000, FEATURES)).astype(np.float32)
    labels = (features[:, :3].sum(axis=1) + rng.normal(size=6000) > 0).astype(int)
    if kind.startswith("forest-"):
        return RandomForestClassifier(int(kind.removeprefix("forest-")), random_state=seed, n_jobs=2).fit(
            features, labels
        )
    made = {
        "logreg": LogisticRegression,
        "boosted": lambda: HistGradientBoostingClassifier(random_state=seed),
        "mlp": lambda: MLPClassifier((64, 32), max_iter=20, random_state=seed),
        "mlp-20MB": lambda: MLPClassifier((2200, 2200), max_iter=1, random_state=seed),
    }[kind]()
    return made.fit(features, labels)


def as_onnx(estimator: Any, *, compact: bool = True) -> bytes:
    """Converts an estimator to ONNX in float32: input `X` of shape (rows, FEATURES).

    `compact`: large tree ensembles are rewritten as the controller's converter does; without it skl2onnx's own output.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    from controller.convert.trees import compact_trees

    types = [("X", FloatTensorType([None, FEATURES]))]
    targets = {"": 18, "ai.onnx.ml": 3}
    made = convert_sklearn(
        estimator, name="model", initial_types=types, target_opset=targets, options={id(estimator): {"zipmap": False}}
    )
    raw: bytes = (compact_trees(made) if compact else made).SerializeToString()
    return raw
