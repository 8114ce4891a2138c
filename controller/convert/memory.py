"""The memory of a conversion: how much its children may take, and the error for too little of it.

Decides that a large model may take a multiple of its size, up to a ceiling. Refuses to know what takes the memory.
"""

import resource
from pathlib import Path

PER_MODEL = 8
"""The memory of a conversion as a multiple of the model's size. A pushed ONNX file needs twice its size. A forest of
scikit-learn needs seven times the size of its skops file: the unpacked file, the estimator, the graph, its bytes, and
onnxruntime's copy."""
MAX_MEMORY_MB = 16 * 1024
"""MiB that a conversion may take because its model is large; `convert.memory_mb` may be set above this."""
_SAID = ("bad_alloc", "bad allocation", "failed to allocate memory", "cannot allocate memory", "memoryerror")
"""Texts of libraries that cannot allocate memory, in lower case: their errors share no exception."""


def memory_for(model_bytes: int, memory_mb: int) -> int:
    """Returns the MiB that a conversion may take. `memory_mb`: for a model of any size."""
    return max(memory_mb, min(PER_MODEL * model_bytes // 2**20, MAX_MEMORY_MB))


def memory_words(model_bytes: int, memory_mb: int) -> str:
    """Returns in words that a conversion has reached its limit of `memory_mb` MiB, and the remedy with a figure."""
    return (
        f"a model of {model_bytes / 2**20:.1f} MiB ran out of its memory, {memory_mb} MiB: an operator can set "
        f"convert.memory_mb to {2 * memory_mb}, if the controller's machine has so much"
    )


def is_memory_fault(error: BaseException | str) -> bool:
    """Whether an error of a library, or its words, say that there was no memory left."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _SAID)


def near_limit(wanted_bytes: int) -> bool:
    """Whether this process is so near to its limit that `wanted_bytes` more did not fit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.partition("VmPeak:")[2].split()[0]) * 1024
    return limit != resource.RLIM_INFINITY and limit - peak < wanted_bytes
