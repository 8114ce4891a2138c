"""Skops files that are hostile as archives and as graphs of objects: refused in words before anything is built."""

import io
import json
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from contract.errors import BadInput, Code
from contract.protocol import MAX_MODEL_BYTES
from controller.convert import skops_archive
from controller.convert.estimator import load_estimator

GOOD = skops.io.dumps(LogisticRegression().fit([[0.0], [1.0]], [0, 1]))
with zipfile.ZipFile(io.BytesIO(GOOD)) as _archive:
    ENTRIES = {name: _archive.read(name) for name in _archive.namelist()}
SCHEMA = json.loads(ENTRIES["schema.json"])
LINK = zipfile.ZipInfo("link")
LINK.external_attr = (stat.S_IFLNK | 0o777) << 16
Entry = tuple[str | zipfile.ZipInfo, bytes]


def packed(*more: Entry, schema: bytes | None = None) -> bytes:
    """The good file with other entries beside, or with another schema."""
    entries = ENTRIES if schema is None else ENTRIES | {"schema.json": schema}
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.simplefilter("ignore")  # zipfile tells of names that come twice
        for name, content in (*entries.items(), *more):
            archive.writestr(name, content)
    return out.getvalue()


def bomb() -> bytes:
    """An archive of one megabyte that expands to more than a gigabyte."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("schema.json", ENTRIES["schema.json"])
        for number in range(5):
            archive.writestr(f"{number}.npy", bytes(MAX_MODEL_BYTES >> 10))
    # the sizes stand in the archive's own list of entries: 1 MiB each, said to be 1 GiB
    return out.getvalue().replace((MAX_MODEL_BYTES >> 10).to_bytes(4, "little"), MAX_MODEL_BYTES.to_bytes(4, "little"))


def listed(number: int, content: Iterable[Any]) -> dict[str, Any]:
    return {
        "__class__": "list", "__module__": "builtins", "__loader__": "ListNode", "__id__": number,
        "content": list(content),
    }  # fmt: skip


def again(number: int) -> dict[str, Any]:
    return listed(number, ()) | {"__loader__": "CachedNode", "is_json": False}


def graph(node: dict[str, Any]) -> bytes:
    versions = {name: SCHEMA[name] for name in ("protocol", "_skops_version")}
    return packed(schema=json.dumps(node | versions).encode())


def doubled() -> bytes:
    """Forty lists, each of which contains the one before it twice."""
    node = listed(0, ())
    for number in range(1, 40):
        node = listed(number, (node, again(number - 1)))
    return graph(node)


def deep() -> bytes:
    begin = b'{"__class__":"list","__module__":"builtins","__loader__":"ListNode","content":['
    return packed(schema=begin * 100_000 + b"]}" * 100_000)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a path upwards": (lambda: packed(("../../root/.ssh/authorized_keys", b"x")), "no plain file inside"),
    "a path from the root": (lambda: packed(("/etc/cron.d/x", b"x")), "no plain file inside"),
    "a path of another system": (lambda: packed(("..\\x", b"x")), "no plain file inside"),
    "a link": (lambda: packed((LINK, b"/etc/passwd")), "no plain file inside"),
    "two schemas": (lambda: packed(("schema.json", b"{}")), "two of its entries have one name"),
    "a bomb": (bomb, "unpacked it has"),
    "an array that lies elsewhere": (
        lambda: packed(schema=ENTRIES["schema.json"].replace(next(iter(ENTRIES)).encode(), b"/etc/passwd")),
        "no item named '/etc/passwd'",
    ),
    "objects a hundred thousand deep": (deep, "RecursionError"),
    "an object that contains itself": (lambda: graph(listed(1, (again(1),))), "contains itself"),
    "objects that double forty times": (doubled, "more than 5000000 objects"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_in_words_before_an_object_is_built(name: str) -> None:
    made, words = HOSTILE[name]
    with pytest.raises(BadInput) as caught:
        load_estimator(made(), ())
    assert caught.value.code == Code.REQUEST_INVALID
    assert words in caught.value.detail


def test_an_archive_has_at_most_as_many_entries_as_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skops_archive, "MAX_ENTRIES", len(ENTRIES))
    assert load_estimator(GOOD, ()).coef_.shape == (1, 1)
    with pytest.raises(BadInput, match="6 entries, limit 5"):
        load_estimator(packed(("one-more", b"")), ())
