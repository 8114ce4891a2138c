"""The files on a stick between the controller and devices without a broker: documents to devices, messages back.

Decides the files and their limits. Refuses to know which key signs, and what a message means. Blobs are beside these
files under their digests, each with the list of its chunks as `{sha256}.list`.
"""

from contract.names import in_file_name
from contract.wire import Message

DOCUMENTS = "documents.json"
MAX_DOCUMENTS_BYTES = 64 * 1024 * 1024
MAX_MESSAGES_BYTES = 4 * 1024 * 1024
"""The largest file of one device. Above this limit, the oldest messages are dropped."""

ALL_MESSAGES = "from-*.json"
"""The pattern that matches every device's file."""


class StickDocuments(Message, frozen=True):
    """The documents that the broker would hold for these devices."""

    documents: dict[str, str]
    """Trust documents, roles and desired documents by topic, as they were signed."""


class StickMessage(Message, frozen=True):
    """One message of a device."""

    topic: str
    text: str


class StickMessages(Message, frozen=True):
    """The messages of one device, oldest first."""

    messages: tuple[StickMessage, ...]


def messages_file(device: str) -> str:
    """The name of the file in which a device writes its messages."""
    return f"from-{in_file_name(device)}.json"
