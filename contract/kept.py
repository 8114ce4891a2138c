"""Reads documents that an older or a newer version of the same program wrote: unknown keys are ignored.

Decides by the wanted type which keys are unknown, at any depth. Unlike in messages of others (`said`), no faulty part
is dropped: a strategy without one of its parts would be another strategy. Refuses to know where the document was kept.
"""

from collections.abc import Callable
from typing import Any, TypeVar, get_args, get_origin

import msgspec

from contract.errors import BadInput, Code
from contract.protocol import MAX_MESSAGE_BYTES
from contract.said import plain_kind
from contract.wire import decode, decode_plain

T = TypeVar("T")


def decode_kept(raw: bytes, kind: type[T], *, max_bytes: int = MAX_MESSAGE_BYTES) -> T:
    """Returns `raw` as `kind`, without unknown keys. BadInput `message_too_large`, `message_malformed`."""
    try:
        return decode(raw, kind, max_bytes=max_bytes)
    except BadInput as error:
        if error.code != Code.MESSAGE_MALFORMED:
            raise
        try:
            return msgspec.convert(_known(decode_plain(raw, max_bytes=max_bytes), kind), kind)
        except msgspec.ValidationError:
            raise error from None


def convert_kept(plain: Any, kind: type[T]) -> T:
    """Returns a document as `kind`, without unknown keys. BadInput `store_corrupt` with the path of the fault."""
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError:
        pass
    try:
        return msgspec.convert(_known(plain, kind), kind)
    except msgspec.ValidationError as error:
        raise BadInput(Code.STORE_CORRUPT, f"{kind.__name__}: {error}") from None


def row_reader(kind: type[T]) -> Callable[[bytes], T]:
    """Returns a function that reads a row as `kind`, without unknown keys. msgspec.DecodeError if it cannot be read."""
    decoder = msgspec.json.Decoder(kind)

    def read(row: bytes) -> T:
        try:
            return decoder.decode(row)
        except msgspec.ValidationError:
            return msgspec.convert(_known(msgspec.json.decode(row), kind), kind)

    return read


def _known(value: Any, kind: Any) -> Any:
    """Returns `value` without the keys of structs that `kind` does not name."""
    plain = plain_kind(kind)
    arguments = get_args(plain)
    if isinstance(value, dict) and isinstance(plain, type) and issubclass(plain, msgspec.Struct):
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(plain)}
        return {key: _known(each, fields[key]) for key, each in value.items() if key in fields}
    if isinstance(value, dict) and get_origin(plain) is dict:
        return {key: _known(each, arguments[1]) for key, each in value.items()}
    if isinstance(value, list) and get_origin(plain) in (tuple, list):
        if get_origin(plain) is tuple and arguments[-1] is not Ellipsis:
            return [_known(each, inner) for each, inner in zip(value, arguments, strict=False)]
        return [_known(each, arguments[0]) for each in value]
    return value
