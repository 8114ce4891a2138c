"""Traces of rollouts to an OpenTelemetry collector, over OTLP/HTTP.

Decides what is sampled, how many spans wait, and that an unreachable collector delays nothing: spans wait in a
queue of the exporter's own thread, and are dropped once it is full. Refuses to know the meaning of a span.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from contract.errors import BadInput, Code
from contract.names import unit_number
from controller.background import Background
from controller.config import TracesConfig
from controller.rollout.model import Rollout
from controller.rollout.trace import Span, trace_id_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

MAX_WAITING = 8192
"""The most spans that wait for the collector: three large rollouts. Further ones are dropped."""
BATCH = 512
SEND_EVERY_MS = 2000
TIMEOUT_S = 5.0
"""The time limit of one attempt to send a batch."""
STOP_MS = 2000
"""Seconds for which the controller waits at its end for the remaining spans."""
INSTALL = "traces need OpenTelemetry's packages: pip install 'edgeward[otel]'"

_log = logging.getLogger("edgeward.controller")


def trace_of(config: TracesConfig, rollout: Rollout) -> str:
    """Returns the trace id under which a rollout is sent once it has ended; empty for one that is not."""
    trace_id = trace_id_of(rollout)
    return trace_id if config.url and unit_number(trace_id) < config.ratio else ""


class Traces:
    """Sends the traces of one controller. BadInput `config_invalid` if an address is set and the packages are
    missing.
    """

    def __init__(self, config: TracesConfig) -> None:
        self._provider = _provider(config) if config.url else None
        self._sending = Background()

    def send(self, trace_id: str, spans: Sequence[Span]) -> None:
        """Hands the spans of one trace to the exporter, in their own thread."""
        if self._provider is not None:
            self._sending.begin(asyncio.to_thread(_emit, self._provider, trace_id, spans))

    async def stop(self) -> None:
        """Sends the waiting spans, for 2 s at most in each step, and ends."""
        if self._sending.tasks:
            await asyncio.wait(self._sending.tasks, timeout=STOP_MS / 1000)
        provider, self._provider = self._provider, None
        if provider is not None:
            await asyncio.to_thread(provider.force_flush, STOP_MS)
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.to_thread(provider.shutdown), STOP_MS / 1000)


def _provider(config: TracesConfig) -> "TracerProvider":
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise BadInput(Code.CONFIG_INVALID, f"[traces] url: {INSTALL} ({error})") from None
    provider = TracerProvider(resource=Resource.create({"service.name": "edgeward-controller"}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=config.url, timeout=TIMEOUT_S)
    processor = BatchSpanProcessor(
        exporter, max_queue_size=MAX_WAITING, max_export_batch_size=BATCH, schedule_delay_millis=SEND_EVERY_MS
    )
    provider.add_span_processor(processor)
    return provider


def _emit(provider: "TracerProvider", trace_id: str, spans: Sequence[Span]) -> None:
    from opentelemetry.trace import StatusCode, set_span_in_context

    tracer = provider.get_tracer("edgeward")
    root = _outside(trace_id)
    made: list[Any] = []
    for span in spans:
        context = root if span.parent < 0 else set_span_in_context(made[span.parent])
        started = tracer.start_span(
            span.name, context, attributes=dict(span.attributes), start_time=_nanoseconds(span.begins)
        )
        if span.fault:
            started.set_status(StatusCode.ERROR, span.fault)
        made.append(started)
    for span, started in zip(spans, made, strict=True):
        started.end(_nanoseconds(span.ends))


def _outside(trace_id: str) -> Any:
    """The context of a span that is never sent. The root span is its child and so has the trace id that was
    announced before.
    """
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    number = int(trace_id, 16)
    parent = SpanContext(number, number & (2**64 - 1) or 1, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(parent))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
