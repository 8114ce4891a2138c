"""Rows from a directory of images: each file that appears becomes one row of pixels.

Decides which files are new and complete, and the size of the picture that the model gets. The model's own pipeline
scales the values. Refuses to know which model answers. Needs Pillow: the extra `edgeward[images]`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.config import ImagesSensor
from agent.ports import Sample
from contract.errors import BadInput, Code

KINDS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
MAX_PIXELS = 64 * 1024 * 1024
"""The largest number of pixels of a picture: a small file may claim a very large picture."""


@dataclass
class Seen:
    """Pictures that were answered, or existed at the start. They are kept when the directory is opened again."""

    paths: frozenset[Path] | None = None


def from_images(
    config: ImagesSensor, beside: Path, wait: Callable[[float], bool], before: Seen | None = None
) -> Iterator[Sample | BadInput]:
    """Yields samples until `wait(seconds)`, which pauses, returns True. For a file that is not a picture, yields the
    error.

    BadInput `config_invalid` if Pillow or the directory is missing.
    """
    image = _pillow()
    directory = beside.parent / config.path
    if not directory.is_dir():
        raise BadInput(Code.CONFIG_INVALID, f"{directory}: no such directory")
    before = before or Seen()
    if before.paths is None:
        before.paths = frozenset() if config.existing else frozenset(_listed(directory))
    seen = before.paths
    growing: dict[Path, int] = {}
    while not wait(config.look_s):
        listed = _listed(directory)
        for path in sorted(listed.keys() - seen):
            if growing.get(path) == listed[path]:
                before.paths = seen = seen | {path}
                yield _sample(image, path, config)
        growing = listed
        before.paths = seen = seen & listed.keys()


def _listed(directory: Path) -> dict[Path, int]:
    """Returns the pictures with their sizes in bytes. Skips files that are deleted at this moment."""
    found = {}
    for path in directory.iterdir():
        if path.suffix.lower() in KINDS:
            try:
                found[path] = path.stat().st_size
            except FileNotFoundError:
                continue
    return found


def _sample(image: Any, path: Path, config: ImagesSensor) -> Sample | BadInput:
    """Returns pixels from 0 to 255: columns x0, x1, ... row by row, or one uint8 tensor in the sensor's layout."""
    try:
        with image.open(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                return BadInput(Code.SAMPLE_INVALID, f"{path.name}: {picture.width} x {picture.height} is too large")
            small = picture.convert("RGB" if config.colours else "L").resize((config.width, config.height))
            return Sample(_values(small, config), None, path.name, path.name)
    except Exception as error:  # decoders may raise any exception for a damaged picture: only this picture is lost
        return BadInput(Code.SAMPLE_INVALID, f"{path.name}: {type(error).__name__}: {error}"[:200])


def _values(picture: Any, config: ImagesSensor) -> dict[str, Any]:
    raw = picture.tobytes()
    if config.layout == "columns":
        return {f"x{at}": float(value) for at, value in enumerate(raw)}
    pixels = np.frombuffer(raw, np.uint8).reshape(config.height, config.width, -1)
    return {config.input: pixels if config.layout == "hwc" else np.moveaxis(pixels, 2, 0)}


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise BadInput(Code.CONFIG_INVALID, "images need Pillow: pip install 'edgeward[images]'") from None
    return Image
