"""What to do about a conversion that fails: one table of words in a converter's error, and the remedy for each.

Decides which step causes the error, inside any nesting, and the words. Refuses to know how a conversion works.
"""

import re
import textwrap
from collections.abc import Sequence
from typing import Any

from contract.answers.reached import reached, texts_for_numbers
from controller.convert.sample_frame import SampleFrame

MAX_SAID_CHARS = 200
"""Characters of a library's own words: the step and the remedy are added to them."""
MAX_COLUMNS_NAMED = 3
"""The most columns of a failing step that are named."""

REMEDIES: tuple[tuple[str, str], ...] = (
    (r"n_supports': 0|array\(\[\], dtype=float32\)", "it has learned nothing: fit it on scaled targets, or raise C"),
    (r"sets of categories", "encode the categories with OrdinalEncoder, leave categorical_features out, and fit again"),
    (r"running OneHotEncoder node", "fit it with handle_unknown='ignore' or 'infrequent_if_exist'"),
    (r"ClassifierChain is converted with", "give it classifiers with predict_proba, and fit again"),
    (r"FunctionTransformer", "leave the function out, or do the same with a transformer that ONNX knows"),
    (r"missing values are string", "fill missing texts before the fit, as in frame.fillna(''), without this imputer"),
    (r"replaced by float", "give the imputer columns of numbers with NaN, and fit again"),
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
"""(pattern of an error, what to do); the first match counts. A test reads them row by row."""
_BY_ITERATIONS = "its answer is the end of many iterations: use {}, and fit again"
INSTEAD = {
    "HashingVectorizer": "hashes of words are none of its operators: use TfidfVectorizer, and fit again",
    **dict.fromkeys(("NMF", "MiniBatchNMF"), _BY_ITERATIONS.format("TruncatedSVD")),
    **dict.fromkeys(("DictionaryLearning", "MiniBatchDictionaryLearning"), _BY_ITERATIONS.format("SparsePCA")),
    "LatentDirichletAllocation": _BY_ITERATIONS.format("TruncatedSVD"),
    "LocallyLinearEmbedding": "it solves equations for each row: use Isomap, and fit again",
    "MultiOutputClassifier": "push each of its estimators_ as a model of its own, or fit a ClassifierChain",
}
"""The estimator to use in place of one that has no form in ONNX, by its class."""
OTHERWISE = "replace this step, or push an ONNX file that you have made yourself"


def remedy(estimator: Any, error: Exception, rows: SampleFrame | None = None) -> str:
    """Returns in words which step fails, with which columns of the sample and which error, and what to do."""
    columns = () if rows is None else rows.columns
    if rows is not None and rows.text_columns:
        texts = {name: rows.frame[name].to_numpy() for name in rows.text_columns}
        if words := texts_for_numbers(estimator, columns, texts):
            return words
    said = " ".join(f"{type(error).__name__}: {error}".split())
    found = next((advice for pattern, advice in REMEDIES if re.search(pattern, said)), OTHERWISE)
    return f"{blamed(estimator, said, columns)}: {at_a_word(said, MAX_SAID_CHARS)}. Remedy: {found}"


def at_a_word(text: str, limit: int) -> str:
    """Text on one line, of at most `limit` characters, that ends with a whole word."""
    return textwrap.shorten(text, limit, placeholder=" ...").rstrip(" .") if len(text) > limit else text.rstrip(".")


def blamed(estimator: Any, said: str, columns: Sequence[str] = ()) -> str:
    """Returns the step that an error names: the innermost one; the whole estimator if it names none."""
    named = [
        f"{each.path} ({type(each.part).__name__}){_of(each.columns)}"
        for each in reached(estimator, columns)
        if re.search(rf"\b(Sklearn)?{type(each.part).__name__}\d*\b", said)
    ]
    return named[-1] if named else f"estimator ({type(estimator).__name__})"


def _of(columns: Sequence[str]) -> str:
    more = "" if len(columns) <= MAX_COLUMNS_NAMED else f" and {len(columns) - MAX_COLUMNS_NAMED} more"
    return f" of {', '.join(map(repr, columns[:MAX_COLUMNS_NAMED]))}{more}" if columns else ""
