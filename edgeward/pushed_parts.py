"""The parts of a push of a model and its sample: the model in a form without code, and rows with its own answers.

Decides which models are run for answers: a live estimator, a live network and two models in a row. Refuses to know
how each is run.
"""

from collections.abc import Mapping
from typing import Any

from contract.answers.distinct import refuse_few
from contract.errors import BadInput, Code
from contract.samples import decode_sample
from edgeward import arguments
from edgeward.encode import encode_model_and_rows
from edgeward.networks.network import network_of


def parts_of(model: Any, sample: Any, feeds: Mapping[str, str], *, waived: bool) -> tuple[str, bytes, bytes]:
    """Returns (kind, model, encoded sample). `feeds`: of two models, the output of the first by input of the second;
    `waived`: few distinct rows are enough.

    BadInput as `encode_model_and_rows`; `sample_refused`, `sample_too_small`; of networks also `config_invalid` and
    `conversion_failed`.
    """
    if isinstance(model, list | tuple):
        from edgeward.staged import encode_two, pipeline_of  # few versions are two models

        pipeline = pipeline_of(model, feeds)
        if pipeline is None:
            return encode_two(model, sample, feeds, waived=waived)
        return parts_of(pipeline, sample, {}, waived=waived)
    if feeds:
        arguments.refuse("model", model, "a list of two models, of which `feeds` says how they are connected")
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
