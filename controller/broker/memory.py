"""The memory that a started Mosquitto may use, so that no client's subscriptions fill the machine.

Decides the limit. Refuses to know the broker's configuration.

Mosquitto 2.0 accepts every subscription, whatever the access list says, keeps it, and has no limit for one client: it
only delivers nothing to a foreign one. At the limit it disconnects the client whose packet does not fit.
"""

import os
from pathlib import Path

FRACTION = 0.5
"""Of the machine's memory. The broker holds the blobs of models and what is on its way; the controller has the rest."""
_GROUP = Path("/sys/fs/cgroup/memory.max")


def memory_limit_bytes(group: Path = _GROUP) -> int:
    """Returns the bytes that the broker may use, of the machine's memory or of its container's if that is smaller."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        text = group.read_text(encoding="ascii").strip()
    except OSError:
        text = ""
    return int(FRACTION * (min(machine, int(text)) if text.isdigit() else machine))
