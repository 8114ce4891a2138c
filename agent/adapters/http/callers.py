"""Whether a browser was tricked into calling: the names that a request may be for, and the pages that may send one.

Decides by `Host` and `Origin` alone. A page on the web can point a name of its own at this device (DNS rebinding), or
post across sites; it can choose neither header. Addresses and `localhost` cannot be pointed elsewhere. Refuses to know
sockets: whoever comes by a Unix socket is no browser and is not asked.
"""

from collections.abc import Sequence
from ipaddress import ip_address

LOCAL_NAMES = ("localhost",)


def is_host_served(host: str, names: Sequence[str]) -> bool:
    """Whether a `Host` header is an address, `localhost`, or one of `names`, with or without a port."""
    name = _without_port(host.strip().lower())
    if name in LOCAL_NAMES or name in names:
        return True
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def may_post(origin: str, host: str, origins: Sequence[str]) -> bool:
    """Whether a page of `origin` may call: one that came from this very server, or one of `origins`."""
    found = origin.strip().lower()
    return found in origins or found == f"http://{host.strip().lower()}"


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() and not (":" in name and not name.endswith("]")) else host
