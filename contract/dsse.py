"""The bytes that a signature covers, by DSSE: the kind of a statement is signed too, so that no kind can be used as
another.

Decides their form (pre-authentication encoding, github.com/secure-systems-lab/dsse, protocol.md, version 1).
Refuses to know whose key signs, and the content of a statement.
"""


def covered(kind: bytes, body: bytes) -> bytes:
    """Returns the bytes that a signature over `body`, of this kind, covers."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)
