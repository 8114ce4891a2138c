"""Named arrays as bytes, for samples and golden sets. The format is npz without pickles.

Decides which arrays are accepted. Refuses to know what they mean.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from contract.errors import BadInput, Code
from contract.protocol import MAX_TENSORS_BYTES

Array = np.ndarray[Any, np.dtype[Any]]


def encode_tensors(arrays: Mapping[str, Array]) -> bytes:
    """Encodes arrays as npz. The same arrays give the same bytes. Object arrays of text become unicode arrays."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: _storable(array) for name, array in arrays.items()})
    return buffer.getvalue()


def decode_tensors(raw: bytes, *, max_bytes: int = MAX_TENSORS_BYTES) -> dict[str, Array]:
    """Decodes arrays from npz. BadInput `tensors_invalid` for pickles, bombs, truncated bytes and anything that is not
    npz.
    """
    import zipfile  # a device answers before it reads its first golden set, so this import is done later

    if len(raw) > max_bytes:
        raise BadInput(Code.TENSORS_INVALID, f"{len(raw)} bytes, limit {max_bytes}")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            expanded_bytes = sum(member.file_size for member in archive.infolist())
        if expanded_bytes > max_bytes:
            raise BadInput(Code.TENSORS_INVALID, f"expands to {expanded_bytes} bytes, limit {max_bytes}")
        with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except BadInput:
        raise
    except Exception as error:  # zipfile and numpy raise many kinds of errors for hostile bytes; all mean the same
        raise BadInput(Code.TENSORS_INVALID, f"{type(error).__name__}: {error}"[:200]) from None


def _storable(array: Array) -> Array:
    return array.astype(np.str_) if array.dtype == object else array
