"""A text that a person wrote about a version or a device. Refuses to know where it is stored and how long it may be."""

from contract.wire import Message


class Written(Message, frozen=True):
    """A text with who wrote it and when."""

    text: str
    by: str
    at: str
