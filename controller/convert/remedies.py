"""What to do about a conversion that fails: one table of words in a converter's error, and the remedy for each.

Decides which step is to blame, inside any nesting, and what is said. Refuses to know how a conversion works.
"""

import re
from typing import Any

from controller.convert.estimator import walk

REMEDIES: tuple[tuple[str, str], ...] = (
    (r"n_supports': 0|array\(\[\], dtype=float32\)", "it has learned nothing: fit it on scaled targets, or raise C"),
    (r"sets of categories", "encode the categories with OrdinalEncoder, leave categorical_features out, and fit again"),
    (r"FunctionTransformer", "leave the function out, or do the same with a transformer that ONNX knows"),
    (r"missing values are string|replaced by float", "give the imputer columns of numbers with NaN, and fit again"),
    (r"Only string and integer class labels", "give the classes names of text or whole numbers, and fit again"),
    (r"Could not find an implementation|NOT_IMPLEMENTED", "replace this step: onnxruntime has no operator for it"),
    (r"bound to different types|does not match expected type", "replace this step: it mixes types of numbers in ONNX"),
    (r"Columns selectors|KeyError|Unable to find column", "select columns of the sample by their names, and fit again"),
    (r"took longer than", "reduce the number of quantiles, trees or support vectors, or raise convert.timeout_s"),
    (r"multi-?output|multi-?class|n_outputs", "fit one estimator for each output, and push each as a model"),
    (r"sparse", "make the output dense, with sparse_output=False or sparse_threshold=0, and fit again"),
    (r"string|String", "encode text with OneHotEncoder or OrdinalEncoder before this step, and fit again"),
    (r"already registered|Unable to find a shape calculator|no converter|MissingConverter", "replace this step"),
)
"""(pattern of an error, what to do); the first that is found holds. A test reads them row by row."""
OTHERWISE = "replace this step, or push an ONNX file that you have made yourself"


def remedy(estimator: Any, error: Exception) -> str:
    """Returns in words which step fails, with which error, and what to do."""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    found = next((advice for pattern, advice in REMEDIES if re.search(pattern, said)), OTHERWISE)
    return f"{blamed(estimator, said)}: {said[:200]}. Remedy: {found}"


def blamed(estimator: Any, said: str) -> str:
    """Returns the step that an error names: the innermost one; the whole estimator if it names none."""
    named = [
        f"{path} ({type(part).__name__})"
        for path, part in walk(estimator)
        if re.search(rf"\b(Sklearn)?{type(part).__name__}\b", said)
    ]
    return named[-1] if named else f"estimator ({type(estimator).__name__})"
