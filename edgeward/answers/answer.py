"""The common part of every answer: how it is read from the API's JSON, and how it prints.

Decides that a key of a newer controller is ignored, and that a missing or mistyped key is an error that names it.
Refuses to know what an answer means and how it was received.
"""

import html
from datetime import datetime
from typing import Annotated, Any, ClassVar, Self, TypeVar

import msgspec

from contract.errors import BadInput, Code

MAX_SHOWN_CHARS = 60
"""Characters after which a text is cut in a repr, because a signed document would fill the screen. 60 hold the sentence
of a gate and a time."""
MAX_SHOWN_ITEMS = 4
"""Items up to which a sequence or mapping prints in a repr; longer ones are counted. 4 labels or roles still fit on a
line."""
_NOTHING: tuple[object, ...] = (None, "", (), {})
HIDDEN = "<hidden>"
"""The text in place of a password in a repr, because notebooks are saved with their output."""

Time = Annotated[datetime, msgspec.Meta(tz=True)]
"""A date and time with its zone. The controller sends UTC."""
Plain = dict[str, object]
"""JSON whose keys are not fixed, such as the measurements of a converter or a signed document."""

K = TypeVar("K")


class Answer(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """An immutable value with the API's names as attributes."""

    _secret: ClassVar[frozenset[str]] = frozenset()
    """Fields that hold passwords."""

    @classmethod
    def read(cls, plain: object) -> Self:
        """Returns the answer in the API's JSON `plain`. BadInput `message_malformed` with the path of the fault."""
        made = read(plain, cls)
        made.__dict__["_plain"] = plain
        return made

    @property
    def plain(self) -> dict[str, Any]:
        """The JSON that the controller sent, with the keys of a newer controller.

        For a part of an answer, its own fields.
        """
        return dict(self.__dict__.get("_plain") or msgspec.to_builtins(self))

    def table_rows(self) -> list[dict[str, object]]:
        """Returns the rows of this value in a table, by column: one row of its fields unless a class defines more."""
        return [{name: getattr(self, name) for name in self.__struct_fields__ if name not in self._secret}]

    def shown(self) -> list[tuple[str, str]]:
        """Returns (field, value as a short text) for each field, with hidden passwords."""
        return [(name, self._show(name)) for name in self.__struct_fields__]

    def _show(self, name: str) -> str:
        return HIDDEN if name in self._secret else show(getattr(self, name))

    def __repr__(self) -> str:
        """Returns the fields with content, on a few lines: a large part is only named, `answer.lineage` shows it."""
        said = [(name, text) for name, text in self.shown() if getattr(self, name) not in _NOTHING]
        return f"{type(self).__name__}({', '.join(f'{name}={text}' for name, text in said)})"

    def _repr_html_(self) -> str:
        """Returns a small HTML table for notebooks; every text is escaped."""
        rows = "".join(f"<tr><th>{name}</th><td>{html.escape(text)}</td></tr>" for name, text in self.shown())
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"


class Sentences(Answer, frozen=True):
    """An explanation in sentences for people, in order."""

    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return "".join(f"<p>{html.escape(sentence)}</p>" for sentence in self.sentences)


def read(plain: object, kind: type[K]) -> K:
    """Returns `plain` as a value of `kind`. BadInput `message_malformed` with the path of the fault."""
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        name = getattr(kind, "__name__", str(kind))
        words = f"{name}: {error}; are controller and client of the same version?"
        raise BadInput(Code.MESSAGE_MALFORMED, words) from None


def show(value: object) -> str:
    """Returns a value as one short text: long texts are cut, long sequences counted, times given to the second."""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, str):
        return repr(value if len(value) <= MAX_SHOWN_CHARS else f"{value[:MAX_SHOWN_CHARS]}...")
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Answer):
        return repr(value) if len(repr(value)) <= 2 * MAX_SHOWN_CHARS else f"<{type(value).__name__}>"
    if isinstance(value, tuple | list | dict):
        nested = any(isinstance(each, Answer | dict | list | tuple) for each in _values(value))
        return f"<{len(value)}>" if nested or len(value) > MAX_SHOWN_ITEMS else _show_items(value)
    return repr(value)


def _values(value: "tuple[object, ...] | list[object] | dict[str, object]") -> list[object]:
    return list(value.values()) if isinstance(value, dict) else list(value)


def _show_items(value: "tuple[object, ...] | list[object] | dict[str, object]") -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {show(each)}" for key, each in value.items()) + "}"
    return "[" + ", ".join(show(each) for each in value) + "]"
