"""Boosted trees of another library in transfer: the library's own text, and the names of the classes.

Decides nothing: it is data, which replaces an estimator whose library the controller does not have. The text is JSON of
XGBoost or the model text of LightGBM, and holds no code. Refuses to know how either is read.
"""

from typing import Any


class BoosterFile:
    """A fitted booster: `library` is `xgboost` or `lightgbm`, `document` its text, `classes` None for a regression."""

    def __init__(self, library: str, document: str, classes: Any = None) -> None:
        self.library = library
        self.document = document
        self.classes = classes

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Returns the fields by name, in the way in which an estimator gives its parameters."""
        return {"library": self.library, "document": self.document, "classes": self.classes}
