"""What a push sends of a model and its sample: the model in a form that holds no code, and rows with its own answers.

Decides which models are asked: a live estimator and a live network are. Refuses to know how either is asked.
"""

from typing import Any

from contract.answers.distinct import refuse_few
from contract.errors import BadInput, Code
from contract.samples import decode_sample
from edgeward.encode import Kind, encode_model_and_rows
from edgeward.networks.network import network_of


def parts_of(model: Any, sample: Any, *, waived: bool) -> tuple[Kind, bytes, bytes]:
    """Returns (kind, model, encoded sample). `waived`: few distinct rows are enough.

    BadInput as `encode_model_and_rows`; `sample_refused`, `sample_too_small`; of networks also `config_invalid` and
    `conversion_failed`.
    """
    network = network_of(model, sample)
    if network is not None:
        from edgeward.networks.recorded import parts_of_network

        if sample is None:
            raise BadInput(Code.SAMPLE_MISSING, "parity needs rows as devices will see them: pass sample=")
        return "onnx", *parts_of_network(network, sample, waived=waived)
    kind, raw, rows = encode_model_and_rows(model, sample)
    if hasattr(model, "get_params"):
        from edgeward.recording import with_answers  # 4 ms: only where a live estimator is pushed

        rows = with_answers(model, sample, rows, waived=waived)
    elif not waived:
        refuse_few(decode_sample(rows))
    return kind, raw, rows
