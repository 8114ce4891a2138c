"""Checks requests that a browser may have sent for a web page: the accepted host names and pages.

Decides by `Host` and `Origin` alone. A page on the web can point its own name at this server (DNS rebinding), or
post across sites, but it can choose neither header. Addresses and `localhost` cannot be redirected. On a Unix
socket only `Origin` is checked: it has no domain name, but a proxy may forward the requests of pages. Refuses to
know sockets.
"""

from collections.abc import Sequence
from ipaddress import ip_address

LOCAL_NAMES = ("localhost",)


def is_host_served(host: str, names: Sequence[str]) -> bool:
    """Tells whether a `Host` header is an address, `localhost`, or one of `names`, with or without a port."""
    name = _without_port(host.strip().lower())
    if name in LOCAL_NAMES or name in names:
        return True
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def may_post(origin: str, host: str, origins: Sequence[str]) -> bool:
    """Tells whether a page of `origin` may call: a page of the server `host` itself, or one of `origins`.

    A page of `https://host` came through a TLS proxy of that name. No page comes from a server without a name: `host`
    is empty on a Unix socket.
    """
    found, name = origin.strip().lower(), host.strip().lower()
    return found in origins or (bool(name) and found in (f"http://{name}", f"https://{name}"))


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() and not (":" in name and not name.endswith("]")) else host
