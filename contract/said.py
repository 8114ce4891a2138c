"""Reads the messages of a device about itself: unknown keys are ignored, and of a bad part only that part is dropped.

Decides what a part is: an element of a list, an entry of a table, a field that may be missing. A signed order is
never read in this way: `wire.decode` refuses it as a whole. Refuses to know what a message means.
"""

from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec

from contract.errors import BadInput, Code
from contract.wire import decode, decode_plain

T = TypeVar("T")


def decode_said(raw: bytes, kind: type[T]) -> tuple[T, int]:
    """Returns (the message, the number of dropped parts). BadInput if a required part is missing or wrong."""
    try:
        return decode(raw, kind), 0
    except BadInput as error:
        if error.code != Code.MESSAGE_MALFORMED:
            raise
        plain = decode_plain(raw)
        try:
            return _read(plain, kind)
        except msgspec.ValidationError:
            raise error from None


def _read(value: Any, kind: Any) -> tuple[Any, int]:
    """Returns (`value` as `kind`, the number of dropped parts).

    ValidationError if it is not valid without these parts either.
    """
    try:
        return msgspec.convert(value, kind), 0
    except msgspec.ValidationError:
        plain = plain_kind(kind)
        if isinstance(value, dict) and isinstance(plain, type) and issubclass(plain, msgspec.Struct):
            return _read_struct(value, plain)
        if isinstance(value, list) and get_origin(plain) is tuple:
            kept, dropped = _read_all(enumerate(value), get_args(plain)[0])
            return msgspec.convert(tuple(kept.values()), kind), dropped
        if isinstance(value, dict) and get_origin(plain) is dict:
            kept, dropped = _read_all(value.items(), get_args(plain)[1])
            return msgspec.convert(kept, kind), dropped
        raise


def _read_struct(value: dict[str, Any], kind: type[msgspec.Struct]) -> tuple[Any, int]:
    found, dropped = {}, 0
    for field in msgspec.structs.fields(kind):
        if field.encode_name not in value:
            continue
        try:
            found[field.name], lost = _read(value[field.encode_name], field.type)
        except msgspec.ValidationError:
            if field.required:
                raise
            lost = 1
        dropped += lost
    if any(field.required and field.name not in found for field in msgspec.structs.fields(kind)):
        raise msgspec.ValidationError(f"{kind.__name__} lacks a field")
    return kind(**found), dropped


def _read_all(parts: Any, kind: Any) -> tuple[dict[Any, Any], int]:
    kept, dropped = {}, 0
    for key, value in parts:
        try:
            kept[key], lost = _read(value, kind)
        except msgspec.ValidationError:
            lost = 1
        dropped += lost
    return kept, dropped


def plain_kind(kind: Any) -> Any:
    """Returns the type without its bounds and without None; a union of several stays as it is."""
    if get_origin(kind) is Annotated:
        return plain_kind(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        others = [each for each in get_args(kind) if each is not NoneType]
        return plain_kind(others[0]) if len(others) == 1 else kind
    return kind
