"""Keeps skl2onnx from searching an estimator for the pipelines to whose last step it would hand options on.

The search asks every tree of a forest for all its attributes, twice in each conversion: a third of its time. Decides
that options are taken as they are: `convert.sklearn` gives them to the last step itself. Refuses to know what they say.
Source of what is replaced: skl2onnx/common/utils_sklearn.py, 1.20.
"""

from typing import Any

from skl2onnx import _parse, convert

PLACES: tuple[Any, ...] = (_parse, convert)
"""skl2onnx's modules that search. A test holds that there are no others."""


def install() -> None:
    """Puts the function of this module in the place of skl2onnx's. Calling it again changes nothing."""
    for module in PLACES:
        module._process_options = as_given


def as_given(estimator: Any, options: Any) -> Any:
    """Returns the options. AssertionError for those by name, which only a search could resolve."""
    assert not any(isinstance(key, str) for key in options or ())
    return options
