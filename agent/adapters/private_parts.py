"""Private parts of libraries on which the agent relies, although their authors do not promise to keep them.

Decides whether each part exists in the shape that the agent uses. `edgeward-agent doctor` reports a missing part after
an upgrade. Refuses to know what happens without a part: the module that uses it decides that.
"""

import ctypes
import inspect
import selectors
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho


@dataclass(frozen=True, slots=True)
class PrivatePart:
    """One part: its name, the module that uses it, the purpose, and a check that returns what is wrong, or an empty
    text.
    """

    name: str
    used_in: str
    used_for: str
    check: Callable[[], str]


def faults() -> list[str]:
    """Returns one sentence for each part that is missing or has another shape, or whose check raises."""
    found = []
    for part in PARTS:
        try:
            fault = part.check()
        except Exception as error:  # a library of another shape may raise anything
            fault = f"{type(error).__name__}: {error}"
        if fault:
            found.append(f"{part.name}: {fault}; {part.used_in} needs it {part.used_for}")
    return found


def _paho_packets() -> str:
    """paho calls `_handle_publish()` for a PUBLISH packet, while the packet is in `_in_packet`."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "doctor", protocol=paho.MQTTv5)
    if list(inspect.signature(client._handle_publish).parameters):
        return "_handle_publish takes arguments"
    packet: dict[str, Any] = dict(client._in_packet)
    if not isinstance(packet["command"], int) or not isinstance(packet["packet"], bytes | bytearray):
        return "_in_packet holds no number and bytes"
    return "" if "_handle_publish" in inspect.getsource(paho.Client._packet_handle) else "_handle_publish is not called"


def _paho_thread() -> str:
    """`_thread` is None before `loop_start`, and then its thread."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "doctor", protocol=paho.MQTTv5)
    return "" if client._thread is None else "_thread is set before loop_start"


def _selector() -> str:
    """The selector asks its kernel object, `_selector`, by `poll(timeout, number of events)`."""
    asked: list[tuple[float, int]] = []

    class Asked:
        def poll(self, timeout: float, most: int) -> list[Any]:
            asked.append((timeout, most))
            return []

    with selectors.DefaultSelector() as selector:
        watched: Any = selector
        real, watched._selector = watched._selector, Asked()
        try:
            watched.select(0)
        finally:
            watched._selector = real
    return "" if asked and asked[0][1] >= 1 else "poll is not asked for a number of events"


def _glibc() -> str:
    """glibc has `mallopt` and `malloc_trim`."""
    libc = ctypes.CDLL(None)
    missing = [name for name in ("mallopt", "malloc_trim") if not hasattr(libc, name)]
    return f"{' and '.join(missing)} missing: another C library keeps freed memory" if missing else ""


def _tuf_core() -> str:
    """The checks of python-tuf's client exist without its files and network."""
    from contract.trust.tuf_core import EnvelopeType, TrustedMetadataSet

    wanted = {
        "update_root": ["self", "data"],
        "update_timestamp": ["self", "data"],
        "update_snapshot": ["self", "data", "trusted"],
        "update_targets": ["self", "data"],
        "update_delegated_targets": ["self", "data", "role_name", "delegator_name"],
    }
    for name, parameters in wanted.items():
        found = list(inspect.signature(getattr(TrustedMetadataSet, name)).parameters)
        if found != parameters:
            return f"{name} takes {', '.join(found)}"
    missing = [name for name in ("root", "timestamp", "snapshot", "targets") if not hasattr(TrustedMetadataSet, name)]
    if missing or "reference_time" not in inspect.getsource(TrustedMetadataSet.__init__):
        return f"{', '.join(missing) or 'reference_time'} missing"
    return "" if hasattr(EnvelopeType, "METADATA") else "EnvelopeType has no METADATA"


PARTS = (
    PrivatePart(
        "paho.mqtt.client.Client._handle_publish, ._in_packet",
        "adapters/mqtt/bare_client.py",
        "to take a chunk apart with one copy (docs/adr/0014)",
        _paho_packets,
    ),
    PrivatePart(
        "paho.mqtt.client.Client._thread",
        "adapters/mqtt/paho_link.py",
        "to see whether the network thread lives",
        _paho_thread,
    ),
    PrivatePart(
        "selectors.DefaultSelector._selector",
        "adapters/http/server.py",
        "to answer connections in turn",
        _selector,
    ),
    PrivatePart(
        "mallopt and malloc_trim of glibc",
        "adapters/runtime/heap.py",
        "to give the memory of replaced models back",
        _glibc,
    ),
    PrivatePart(
        "tuf.ngclient._internal.trusted_metadata_set.TrustedMetadataSet",
        "contract/trust/chain.py",
        "to verify signed documents without python-tuf's files and network (docs/adr/0007)",
        _tuf_core,
    ),
)
"""All parts. For each, a test breaks the library and checks that the fault is reported."""
