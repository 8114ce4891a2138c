"""A model's configuration in Triton's terms, for clients that ask for it before they send a request, such as
perf_analyzer.

Decides how a signed manifest is expressed in those terms. Refuses to know how it is sent. Source: Triton's extension
"model configuration", https://github.com/triton-inference-server/server/tree/main/docs/protocol.
"""

from typing import Any

from contract.manifest import Manifest, Tensor

MAX_BATCH = 1024
"""The number of rows that is named as the largest batch. Larger requests are answered as well, but perf_analyzer sends
none."""
BACKEND, PLATFORM = "onnxruntime", "onnxruntime_onnx"
MISSING_TEXT = "edgeward.missing_text"
"""The beginning of a parameter's name. The parameter says which text stands for a missing one in a column: binary
tensors have no `null`, so a client writes this text in its place."""
_TYPES = {"BYTES": "TYPE_STRING"}


def model_config(model: str, manifest: Manifest) -> dict[str, Any]:
    """Returns the configuration: `dims` without the rows where every tensor's first dimension is dynamic."""
    tensors = (*manifest.inputs, *manifest.outputs)
    batched = all(tensor.shape and tensor.shape[0] == -1 for tensor in tensors)
    return {
        "name": model,
        "platform": PLATFORM,
        "backend": BACKEND,
        "version_policy": {"specific": {"versions": [manifest.release]}},
        "max_batch_size": MAX_BATCH if batched else 0,
        "input": [_told(tensor, batched=batched) for tensor in manifest.inputs],
        "output": [_told(tensor, batched=batched) for tensor in manifest.outputs],
        "instance_group": [{"name": model, "kind": "KIND_CPU", "count": 1}],
        "model_transaction_policy": {"decoupled": False},
        "parameters": {f"{MISSING_TEXT}.{column}": {"string_value": text} for column, text in manifest.missing_text},
    }


def _told(tensor: Tensor, *, batched: bool) -> dict[str, Any]:
    kind = _TYPES.get(tensor.datatype, f"TYPE_{tensor.datatype}")
    return {"name": tensor.name, "data_type": kind, "dims": list(tensor.shape[1:] if batched else tensor.shape)}
