"""The director's signature on an inquiry, made and verified by the keys that signed metadata names.

Decides what is signed: the inquiry as it is encoded with an empty signature, in DSSE's encoding, which no parser of TUF
reads as a document. Refuses to know how old an inquiry may be.
"""

from msgspec.structs import replace
from securesystemslib.signer import Signature, Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Targets

from contract.errors import BadInput, Code
from contract.inquiries import Inquiry
from contract.signatures import encoding
from contract.trust.documents import DIRECTOR


def sign_inquiry(inquiry: Inquiry, director: Signer) -> Inquiry:
    """Returns the inquiry with the director's signature."""
    unsigned = replace(inquiry, keyid=director.public_key.keyid, signature="")
    return replace(unsigned, signature=director.sign(encoding(unsigned)).signature)


def check_inquiry(inquiry: Inquiry, targets: Targets) -> None:
    """BadInput `signature_invalid` unless the director that `targets` names has signed it."""
    signed = encoding(replace(inquiry, signature=""))
    signature = Signature(inquiry.keyid, inquiry.signature)
    try:
        targets.verify_delegate(DIRECTOR, signed, {inquiry.keyid: signature})
    except (RepositoryError, ValueError) as error:
        raise BadInput(Code.SIGNATURE_INVALID, f"inquiry: {error}") from None
