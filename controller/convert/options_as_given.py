"""Keeps skl2onnx from searching an estimator for pipelines to whose last step it would pass options.

The search reads all attributes of every tree of a forest, twice in each conversion: a third of its time. Decides
that options are taken unchanged: `convert.sklearn` gives them to the last step itself. Refuses to know their
meaning. Source of what is replaced: skl2onnx/common/utils_sklearn.py, 1.20.
"""

from typing import Any

from skl2onnx import _parse, convert

PLACES: tuple[Any, ...] = (_parse, convert)
"""skl2onnx's modules that search. A test holds that there are no others."""


def install() -> None:
    """Replaces skl2onnx's function by that of this module. Calling it again changes nothing."""
    for module in PLACES:
        module._process_options = as_given


def as_given(estimator: Any, options: Any) -> Any:
    """Returns the options unchanged. AssertionError for options by name, which only a search could resolve."""
    assert not any(isinstance(key, str) for key in options or ())
    return options
