"""The types that a skops file may build: scikit-learn's own, plain data of other libraries, and types that an
operator has named.

Decides by the real object and not by the path in the file: `sklearn.calibration.partial` is not a type of scikit-learn.
Refuses to know what a type does; therefore a conversion is also confined.
"""

import importlib

TRUSTED_TYPES = frozenset(
    {
        "contract.booster.BoosterFile",
        "functools.partial",
        "numpy.dtype",
        "skl2onnx.sklapi.cast_transformer.CastTransformer",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
        "sklearn.utils.validation.check_array",
    }
)
"""Types of our libraries that skops reports as unknown. They hold plain data, except the last and `partial`: histogram
gradient boosting keeps a check of its columns of numbers. `parameters` refuses every other partial."""

TRUSTED_MODULES = (
    "sklearn._loss",
    "sklearn.calibration",
    "sklearn.gaussian_process.kernels",
    "sklearn.linear_model._sgd_fast",
    "sklearn.metrics._classification",
    "sklearn.metrics._dist_metrics",
    "sklearn.metrics._scorer",
    "sklearn.model_selection._split",
    "sklearn.neural_network._stochastic_optimizers",
    "sklearn.utils._metadata_requests",
)
"""scikit-learn's modules in which every type and function is harmless: losses, kernels, distances, optimisers,
scorers."""


def is_trusted(name: str, named_by_operator: tuple[str, ...]) -> bool:
    """Tells whether the type `name` (module, dot, attribute) may be built."""
    if name in TRUSTED_TYPES or name in named_by_operator:
        return True
    module, _, attribute = name.rpartition(".")
    return _is_ours(module) and _is_defined_there(module, attribute)


def _is_ours(module: str) -> bool:
    return any(module == ours or module.startswith(f"{ours}.") for ours in TRUSTED_MODULES)


def _is_defined_there(module: str, attribute: str) -> bool:
    """Tells whether the object is a class or function that `module` defines. An imported name is defined elsewhere."""
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return False
    defined = (getattr(found, "__module__", None), getattr(found, "__qualname__", None))
    return callable(found) and defined == (module, attribute)
