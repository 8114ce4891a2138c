"""A version as a folder for the Hugging Face Hub: the model, its golden set, and a model card."""

from edgeward.exports.card import card
from edgeward.exports.exported import DESCRIBED, Exported


def folder(exported: Exported) -> dict[str, bytes]:
    """Files of the folder by their paths."""
    return {**exported.files, DESCRIBED: exported.described, "README.md": card(exported).encode()}
