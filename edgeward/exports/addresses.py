"""Addresses of models on an MLflow server. Decides by their beginning. Refuses to know how they are fetched."""

SCHEMES = ("models:/", "runs:/")


def is_address(text: object) -> bool:
    """Whether a text names a model on an MLflow server."""
    return isinstance(text, str) and text.startswith(SCHEMES)
