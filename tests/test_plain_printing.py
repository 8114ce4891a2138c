"""No text of others is markup: the sources of everything that prints are walked for what would read or style it.

Decides which calls of rich read markup, whatever console prints the result. Refuses to know what is printed.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OTHERS = ("agent", "controller", "firmware_sim", "contract", "examples")
"""Rooms that print without rich."""
PRINTER = ROOT / "edgeward" / "cli" / "render.py"
"""The one file that makes a console, and that hands a `Text` to its spinner."""
PLAIN = {"cells", "console", "live", "padding", "progress_bar", "table", "text"}
"""Modules of rich that take a text of a `Console(markup=False)` as it is. Others, such as panel, prompt, progress and
spinner, call `Text.from_markup` for titles and questions, whatever the console."""
PARSERS = {"from_markup", "render_markup", "from_ansi", "print_json"}
TAG = re.compile(
    r"\[/\]|\[/?(bold|dim|italic|underline|blink|reverse|red|green|yellow|cyan|blue|magenta|white|black|link)\b[^\]]*\]"
)


def faults(source: str, *, printer: bool = False) -> list[str]:
    """Returns what is wrong with a source, as `line: words`."""
    found = []
    tree = ast.parse(source)
    for node in ast.walk(tree):
        found += [f"{getattr(node, 'lineno', 0)}: {words}" for words in _faults(node, printer=printer)]
    functions = [] if printer else [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)]
    for function in functions:
        found += [
            f"{each.lineno}: a style that is no constant" for each in _styles(function) if not _fixed(each, function)
        ]
    return sorted(set(found))


def _faults(node: ast.AST, *, printer: bool) -> Iterator[str]:
    yield from _of_import(node, printer=printer)
    match node:
        case ast.Call(func=ast.Attribute(value=value, attr="status" | "input" | "rule" | "log")) if _is_console(value):
            if not printer:
                yield "console.status, input, rule and log read markup: waiting(), say()"
        case ast.Call(func=ast.Name(id="Console"), keywords=keywords):
            given = {each.arg: ast.unparse(each.value) for each in keywords}
            if any(given.get(name) != "False" for name in ("markup", "emoji", "highlight")):
                yield "a console that reads markup, emoji or numbers in a text"
        case ast.keyword(arg="markup" | "emoji", value=value) if ast.unparse(value) != "False":
            yield "markup is off everywhere"
        case ast.Constant(value=str(text)) if TAG.search(text) and not printer:
            yield f"{text[:40]!r} would be printed letter by letter: say((text, style))"


def _of_import(node: ast.AST, *, printer: bool) -> Iterator[str]:
    match node:
        case ast.ImportFrom(module=str(module)) if module.split(".")[0] == "rich" and not printer:
            names = {each.name for each in node.names}
            if module.partition(".")[2] not in PLAIN or names & {"Console"}:
                yield f"{module}: it reads markup, or prints beside edgeward.cli.render"
        case ast.Import() if any(each.name.split(".")[0] == "rich" for each in node.names):
            yield "import rich: import what is needed from its modules"
        case ast.Attribute(attr=name) if name in PARSERS:
            if not (name == "print_json" and not _is_console(node.value)):
                yield f"{name}: it reads markup or escapes"


def _is_console(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "console"


def _styles(function: ast.FunctionDef) -> Iterator[ast.expr]:
    """Yields the expressions that choose a style: of Text(), of pairs in assemble() and say(), of append()."""
    for node in ast.walk(function):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in ("Text", "Padding", "print", "append", "Table", "ProgressBar"):
            yield from (each.value for each in node.keywords if each.arg and each.arg.endswith("style"))
        if name in ("Text", "append") and len(node.args) > 1:
            yield node.args[1]
        if name in ("assemble", "say"):
            yield from (each.elts[1] for each in ast.walk(node) if isinstance(each, ast.Tuple) and len(each.elts) == 2)


def _fixed(style: ast.expr, function: ast.FunctionDef) -> bool:
    """Whether an expression is a constant, or chosen among the constants of a table."""
    match style:
        case ast.Constant():
            return True
        case ast.IfExp(body=one, orelse=other):
            return _fixed(one, function) and _fixed(other, function)
        case ast.Subscript(value=table) | ast.Call(func=ast.Attribute(value=table, attr="get")):
            return isinstance(table, ast.Name) and (table.id.isupper() or _is_local_table(table.id, function))
        case ast.Name(id=name):
            return _is_drawn_from_constants(name, function)
    return False


def _is_local_table(name: str, function: ast.FunctionDef) -> bool:
    return any(isinstance(value, ast.Dict) for value in _values(name, function))


def _is_drawn_from_constants(name: str, function: ast.FunctionDef) -> bool:
    """Whether a local name only ever holds fixed styles, or is a parameter called `style`."""
    values = list(_values(name, function))
    parameters = {each.arg for each in function.args.args}
    return all(_fixed(value, function) for value in values) if values else name == "style" and name in parameters


def _values(name: str, function: ast.FunctionDef) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            if isinstance(target, ast.Name) and target.id == name:
                yield node.value
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                named = zip(target.elts, node.value.elts, strict=True)
                yield from (value for one, value in named if isinstance(one, ast.Name) and one.id == name)


def test_no_source_reads_a_text_as_markup_or_takes_a_style_from_one() -> None:
    paths = list((ROOT / "edgeward").rglob("*.py"))
    prints = re.compile(r"\brich\b|\bconsole\b|\bsay\b|\[/\]|\[(bold|red|green|yellow|dim)\]")
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    printing = [path for path, text in texts.items() if prints.search(text)]
    assert len(printing) > 30
    found = {str(path): wrong for path in printing if (wrong := faults(texts[path], printer=path == PRINTER))}
    assert found == {}


def test_no_other_room_prints_by_rich() -> None:
    sources = [path for home in OTHERS for path in (ROOT / home).rglob("*.py")]
    assert [each for each in sources if re.search(r"^\s*(from|import) rich\b", each.read_text("utf-8"), re.M)] == []


@pytest.mark.parametrize(
    "planted",
    [
        'console.print(f"[red]{code}[/]: {detail}")',
        'words = f"[bold]{name}[/] is gone"',
        "console.print(words, markup=True)",
        "console.print(words, emoji=True)",
        "Text.from_markup(words)",
        "Text.from_ansi(words)",
        "console.status(words)",
        "console.input(question)",
        "Console(width=80)",
        "from rich.panel import Panel",
        "from rich.prompt import Prompt",
        "from rich.markup import escape",
        "from rich.console import Console",
        "from rich import print",
        "import rich",
        "def f(device):\n    say((device.name, device.colour))",
        "def f(device):\n    return Text(device.name, style=device.colour)",
        "def f(device):\n    return Text.assemble((device.name, f'link {device.url}'))",
        "def f(device):\n    colour = device.colour\n    return Text(device.name, colour)",
    ],
)
def test_whatever_reads_markup_is_found(planted: str) -> None:
    assert faults(planted)
