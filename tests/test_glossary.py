"""No retired word of docs/reference/glossary.md returns: not in code, wire, configurations, commands or pages.

Names are cut into words at underscores and capitals. Names of tests are sentences and are read as such.
"""

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "glossary.md"
FOLDERS = ("contract", "agent", "controller", "edgeward", "firmware_sim", "benchmarks", "examples", "tests")


class Retired(msgspec.Struct, frozen=True):
    """One row of the table: forms of a word, whether sentences are searched as well, and where it may stand."""

    forms: tuple[tuple[str, ...], ...]
    in_sentences: bool
    names: tuple[str, ...]
    paths: tuple[str, ...]

    @property
    def word(self) -> str:
        return " ".join(self.forms[0])


class Place(msgspec.Struct, frozen=True):
    """A name or a sentence, and where it stands."""

    path: str
    line: int
    text: str


def retired_words(page: str) -> list[Retired]:
    """The rows of the second table."""
    rows = []
    for line in page.partition("## Retired words")[2].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 4 or not cells[0].startswith("`"):
            continue
        allowed = re.findall(r"`([^`]+)`", cells[3])
        rows.append(
            Retired(
                forms=tuple(tuple(form.split()) for form in re.findall(r"`([^`]+)`", cells[0])),
                in_sentences=cells[2] == "everywhere",
                names=tuple(each for each in allowed if "/" not in each),
                paths=tuple(each for each in allowed if "/" in each),
            )
        )
    return rows


@cache
def words_of(name: str) -> list[str]:
    """`HealthWindow`, `WINDOW_MAX` and `--min-release` cut into small words."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+", name)]


def has_form(words: list[str], form: tuple[str, ...]) -> bool:
    return any(tuple(words[at : at + len(form)]) == form for at in range(len(words)))


def names_in(path: str, source: str) -> Iterator[Place]:
    """Identifiers, names of modules, and strings without a blank: keys of JSON and TOML, routes, options."""
    for node in ast.walk(ast.parse(source)):
        for name in _names_of(node):
            if not name.startswith("test_"):
                yield Place(path, getattr(node, "lineno", 1), name)


def _names_of(node: ast.AST) -> Iterable[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
            return [name]
        case ast.alias(name=name, asname=asname):
            return [name, *([asname] if asname else [])]
        case ast.ImportFrom(module=str(module)):
            return [module]
        case ast.Constant(value=str(text)) if not re.search(r"\s", text) and len(text) < 80:
            return [text]
        case _:
            return []


def sentences_in(path: str, text: str) -> Iterator[Place]:
    """Lines of a page without the names in backticks, which code and configurations answer for."""
    for number, line in enumerate(text.splitlines(), 1):
        yield Place(path, number, re.sub(r"`[^`]*`|\]\([^)]*\)", " ", line).lower().replace("trust bundle", " "))


def keys_of(found: Any) -> Iterator[str]:
    """Every key of a TOML document."""
    match found:
        case dict():
            yield from found
            for value in found.values():
                yield from keys_of(value)
        case list():
            for value in found:
                yield from keys_of(value)
        case _:
            return


def names() -> list[Place]:
    """Every name in the repository, this test's own left out."""
    found: list[Place] = []
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            path = file.relative_to(ROOT).as_posix()
            if file != Path(__file__):
                found += [Place(path, 1, path), *names_in(path, file.read_text())]
    for file in sorted((ROOT / "configs").rglob("*.toml")):
        path = file.relative_to(ROOT).as_posix()
        found += [Place(path, 1, key) for key in keys_of(tomllib.loads(file.read_text()))]
    return found


def sentences() -> list[Place]:
    """Every line of every page, but the glossary's own."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [
        place
        for page in pages
        if page != PAGE
        for place in sentences_in(page.relative_to(ROOT).as_posix(), page.read_text())
    ]


def uses(row: Retired, names: Iterable[Place], sentences: Iterable[Place]) -> list[str]:
    """Returns the places of a retired word at which it is not allowed."""
    found = [place for place in names if _has_any(words_of(place.text), row) and not _may_stand(place, row)]
    if row.in_sentences:
        found += [place for place in sentences if _has_any(re.findall(r"\w+", place.text), row)]
    return [f"{place.path}:{place.line}: {place.text.strip()[:80]}" for place in found]


def _has_any(words: list[str], row: Retired) -> bool:
    return any(has_form(words, form) for form in row.forms)


def _may_stand(place: Place, row: Retired) -> bool:
    named = any(fnmatchcase(place.text, name) for name in row.names)
    return named or any(fnmatchcase(place.path, glob) for glob in row.paths)


ROWS = retired_words(PAGE.read_text())


@pytest.fixture(scope="module")
def all_names() -> list[Place]:
    return names()


@pytest.fixture(scope="module")
def all_sentences() -> list[Place]:
    return sentences()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.word)
def test_retired_words_are_not_used(row: Retired, all_names: list[Place], all_sentences: list[Place]) -> None:
    assert uses(row, all_names, all_sentences) == []


def test_the_glossary_retires_words_and_names_each_once() -> None:
    forms = [form for row in ROWS for form in row.forms]
    assert len(ROWS) > 15
    assert len(forms) == len(set(forms))


PLANTED = {
    "window": "class Rule:\n    window_s: float = 0.0",
    "bundle": "def export_bundle(): ...",
    "share": 'body = {"share": 1}',
    "released": "x = version.released",
    "release device": "f(release_device=1)",
    "slot": 'DesiredTarget(slot="m")',
    "latency us": "class Sums:\n    latency_us: tuple[int, ...] = ()",
    "voice": "from controller.trust.senders import Voices",
    "believes": "voices.believes()",
    "remember": "import memory as remember",
    "operations": "class Operations: ...",
    "planning": "import controller.planning",
    "broadcast": "class Broadcast: ...",
    "say again": "def say_again(): ...",
    "commit": "read_committed = 1",
    "admitting": "def f(admitting): ...",
    "capturing": "class Capturing: ...",
}


@pytest.mark.parametrize("row", ROWS, ids=[row.word for row in ROWS])
def test_a_planted_word_is_found_with_its_place(row: Retired) -> None:
    planted = names_in("controller/planted.py", PLANTED[row.word])
    assert [found.partition(": ")[0].rpartition(":")[0] for found in uses(row, planted, ())] == [
        "controller/planted.py"
    ]


def test_a_word_is_found_in_a_command_a_configuration_and_a_sentence() -> None:
    window = next(row for row in ROWS if row.word == "window")
    option = names_in("edgeward/cli/x.py", '@click.option("--window-s", type=float)\ndef f(): ...')
    keys = [Place("configs/x.toml", 1, key) for key in keys_of(tomllib.loads("[trial]\nwindows = []"))]
    page = sentences_in("docs/x.md", "It waits for a maintenance Window.\n`window` in code is code's.")
    assert uses(window, option, ()) == ["edgeward/cli/x.py:1: --window-s"]
    assert uses(window, keys, ()) == ["configs/x.toml:1: windows"]
    assert uses(window, (), page) == ["docs/x.md:1: it waits for a maintenance window."]


def test_allowed_uses_of_a_word_are_not_reported() -> None:
    rows = {row.word: row for row in ROWS}
    assert uses(rows["bundle"], names_in("contract/trust/x.py", "class TrustBundle: ..."), ()) == []
    assert uses(rows["bundle"], (), sentences_in("docs/x.md", "The trust bundle says whom to trust.")) == []
    assert uses(rows["operations"], names_in("firmware_sim/power.py", "self.operations = 0"), ()) == []
