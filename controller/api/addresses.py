"""The address from which a request comes, also behind proxies that the operator trusts.

Decides which header values count: only those that trusted proxies have added, read from the right. Refuses to know what
is limited by address.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

UNKNOWN = "unknown"
IPV6_BLOCK_BITS = 64
"""The size of the block that one customer usually gets: a caller with one address of it can use all of them."""
MAX_HOPS = 16
"""The most addresses that are read from the header, from the right."""
_FORWARDED_FOR = re.compile(r'(?:^|;)\s*for=(?:"\[?([0-9A-Fa-f:.]+)\]?(?::\d+)?"|([0-9.]+))\s*(?:;|$)', re.IGNORECASE)


def client_of(peer: str, said: Sequence[str], trusted: tuple[str, ...], header: str) -> str:
    """Returns the address from which a request comes.

    `peer` is the address of the connection. `said` are the values of `header` in their order. The result is the
    rightmost address that is not a trusted proxy. A value that is not an address ends the search; the result is then
    the last trusted proxy.
    """
    found = peer
    if not is_trusted(found, trusted):
        return found
    hops = [hop.strip() for value in said for hop in value.split(",")][-MAX_HOPS:]
    for hop in reversed(hops):
        address = _address(hop, header)
        if address is None:
            return found
        found = address
        if not is_trusted(found, trusted):
            return found
    return found


def is_trusted(address: str, trusted: tuple[str, ...]) -> bool:
    """Tells whether an address is in one of the networks."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in _networks(trusted))


def block_of(address: str) -> str:
    """Returns the address or block that is counted as one caller: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return UNKNOWN
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((int(parsed), IPV6_BLOCK_BITS), strict=False))


def _address(hop: str, header: str) -> str | None:
    if header == "forwarded":
        match = _FORWARDED_FOR.search(hop)
        hop = (match[1] or match[2]) if match else ""
    try:
        return str(ip_address(hop))
    except ValueError:
        return None


@lru_cache(maxsize=8)
def _networks(texts: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text) for text in texts)
