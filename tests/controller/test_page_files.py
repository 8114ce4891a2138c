"""Files of the page: what they may load and contain, their size, their values, and the command that opens them."""

import asyncio
import gzip
import hashlib
import re
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from aiohttp.test_utils import TestClient, TestServer
from click.testing import CliRunner

from controller.api.app import make_app
from controller.api.page import PAGE_ADDRESSES, STATIC, static_paths
from controller.config import Config, StorageConfig
from controller.fleet.device_health import HEALTH_WORDS
from controller.fleet.device_query import PRESENCE_WORDS
from controller.rollout.model import Status
from controller.rollout.outcome import FAILURES, MemberOutcome
from controller.state import open_state
from edgeward.cli import page as page_command
from edgeward.cli.main import cli
from edgeward.cli.page import has_browser, open_by_file
from edgeward.cli.rollout_panels import _FAILURES

OWN = sorted(path for path in STATIC.rglob("*.js") if "vendor" not in path.parts)
VENDORED = ((STATIC / "vendor"), Path(__file__).parents[1] / "data" / "axe")
MAX_LINES = 400
VERDICTS = ("pass", "fail", "inconclusive")
FIRST_PAGE = ("index.html", "style.css", "app.js", "store.js", "live.js", "finder.js", "ui.js", "csv.js", "marks.js",
              "words.js", "filters.js", "heat.js", "vendor/preact-htm.js", "pages/states.js", "pages/fleet.js",
              "pages/fleet_cells.js", "pages/fleet_devices.js")  # fmt: skip
MAX_FIRST_PAGE_BYTES = 120_000


def luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def themes() -> list[dict[str, str]]:
    """Colours by token, in light and in dark."""
    style = (STATIC / "style.css").read_text()
    light, dark = (block for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL) if "--ink:" in block)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in (light, dark)]


def test_own_files_name_no_external_address_and_never_make_markup_from_text() -> None:
    for path in (*OWN, STATIC / "index.html", STATIC / "style.css"):
        text = path.read_text()
        assert not re.findall(r"https?://(?!www\.w3\.org)", text), path
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|dangerously|document\.write|\beval\(", text), path
    html = (STATIC / "index.html").read_text()
    assert re.findall(r"<script[^>]*>", html) == ['<script type="module" src="/static/app.js">']
    assert "style=" not in html


def test_own_files_have_a_description_and_the_usual_maximum_length() -> None:
    for path in OWN:
        lines = path.read_text().splitlines()
        assert lines[0].startswith("// "), path
        assert len(lines) <= MAX_LINES, path


@pytest.mark.parametrize("folder", VENDORED, ids=lambda path: path.name)
def test_vendored_files_are_listed_in_their_readme_with_licence_and_digest(folder: Path) -> None:
    named = {}
    for line in (folder / "README.md").read_text().splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5:
            named[cells[0]] = cells[4]
            assert cells[3], line
    files = {path.name: path for path in folder.iterdir() if path.name != "README.md"}
    licences = {name for name in files if name.startswith("LICENSE")}
    assert set(files) - licences == set(named)
    assert licences
    for name, digest in named.items():
        assert hashlib.sha256(files[name].read_bytes()).hexdigest() == digest, name


def test_the_first_page_is_small_enough_for_a_slow_connection() -> None:
    packed = sum(len(gzip.compress((STATIC / name).read_bytes())) for name in FIRST_PAGE)
    assert packed <= MAX_FIRST_PAGE_BYTES
    loaded = set(FIRST_PAGE)
    for name in (name for name in FIRST_PAGE if name.endswith(".js") and "vendor" not in name):
        for wanted in re.findall(r'^(?:import|export) .*?from "(\.[^"]+)"', (STATIC / name).read_text(), re.MULTILINE):
            found = (STATIC / name).parent.joinpath(wanted).resolve().relative_to(STATIC).as_posix()
            assert found in loaded, f"{name} loads {found}"


def test_nothing_is_exported_that_nobody_imports() -> None:
    texts = {path: path.read_text() for path in OWN}
    for path, text in texts.items():
        for name in EXPORTED.findall(text):
            others = "\n".join(each for other, each in texts.items() if other != path)
            assert re.search(rf"\b{name}\b", others), f"{path.name} exports {name}"


def test_a_mistyped_address_is_the_pages_for_a_person_and_json_for_a_program(tmp_path: Path) -> None:
    person = {"Accept": "text/html,*/*;q=0.8"}
    paths = ("/flet", "/models/m/versions", "/wp-login.php")
    for status, body, headers in ask(tmp_path, *((path, person) for path in paths)):
        assert (status, headers["Content-Type"]) == (404, "text/html; charset=utf-8")
        assert body == (STATIC / "index.html").read_bytes()
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    (program,) = ask(tmp_path / "program", ("/flet", {}))
    assert (program[0], program[2]["Content-Type"].partition(";")[0]) == (404, "application/json")
    for status, _, headers in ask(tmp_path / "api", *((path, person) for path in ("/v1/flet", "/static/flet.js"))):
        assert status in (401, 404)
        assert headers["Content-Type"].startswith("application/json")


def block(name: str, constant: str) -> str:
    """The text of an object of a script."""
    return re.findall(rf"const {constant} = \{{(.*?)\}};", (STATIC / name).read_text(), re.DOTALL)[0]


def test_every_enumerated_value_of_the_api_has_a_symbol_on_the_page() -> None:
    known = set(re.findall(r"\w+", block("marks.js", "WORDS")))
    for words in (get_args(MemberOutcome), get_args(Status), VERDICTS, HEALTH_WORDS, PRESENCE_WORDS):
        assert set(words) <= known, set(words) - known


def test_the_definition_of_a_failure_is_the_same_in_outcomes_page_and_command() -> None:
    looks = re.findall(r"(\w+): \"(\w+)\"", block("pages/fleet.js", "LOOKS"))
    assert {word for word, look in looks if look == "bad"} == FAILURES == set(_FAILURES)


def test_text_has_enough_contrast_in_both_themes() -> None:
    for theme in themes():
        for ink in ("ink", "ink2", "ink3", "accent", "good", "warn", "bad"):
            for ground in ("panel", "paper", "sunk", "hover"):
                assert contrast(theme[ink], theme[ground]) >= 4.5, (ink, ground)
        for word in ("good", "warn", "bad", "accent"):
            assert contrast(theme[word], theme[f"{word}-soft"]) >= 4.5, word
        assert contrast(theme["on-accent"], theme["accent"]) >= 4.5
        for part in ("edge", "good-fill", "warn-fill", "bad-fill"):
            assert contrast(theme[part], theme["panel"]) >= 3.0, part


def ask(tmp_path: Path, *asked: tuple[str, dict[str, str]]) -> list[tuple[int, bytes, Mapping[str, str]]]:
    state = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))

    async def run() -> list[tuple[int, bytes, Mapping[str, str]]]:
        async with TestClient(TestServer(make_app(state, "edg_x")), auto_decompress=False) as client:
            found = []
            for path, headers in asked:
                answer = await client.get(path, headers={"Accept-Encoding": "identity", **headers})
                found.append((answer.status, await answer.read(), answer.headers))
            return found

    try:
        return asyncio.run(run())
    finally:
        state.close()


def test_every_address_serves_the_same_page_which_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    paths = [re.sub(r"\{\w+\}", "x", address) for address in PAGE_ADDRESSES]
    answers = ask(tmp_path, *((path, {}) for path in (*paths, *static_paths())))
    html = (STATIC / "index.html").read_bytes()
    for status, body, headers in answers[: len(paths)]:
        assert (status, body, headers["Content-Type"]) == (200, html, "text/html; charset=utf-8")
    for status, _, headers in answers:
        assert status == 200
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';")
        assert "unsafe" not in policy
        assert headers["Referrer-Policy"] == "no-referrer"


def test_a_file_is_compressed_for_clients_that_accept_it_and_not_sent_again_if_unchanged(tmp_path: Path) -> None:
    (_, plain, first), (_, packed, headers) = ask(
        tmp_path, ("/static/app.js", {}), ("/static/app.js", {"Accept-Encoding": "gzip"})
    )
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed) == plain
    again = ask(tmp_path, ("/static/app.js", {"If-None-Match": first["ETag"]}))[0]
    assert (again[0], again[1]) == (304, b"")


def test_the_command_prints_the_address_with_the_token_if_there_is_no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_command.getpass, "getuser", lambda: "ada")
    environment = {"EDGEWARD_URL": "http://127.0.0.1:8470/", "EDGEWARD_TOKEN": "edg_x"}
    for arguments in (["page"], ["page", "--print"]):
        said = CliRunner().invoke(cli, arguments, env=environment).output
        assert said == "http://127.0.0.1:8470/#token=edg_x&actor=ada\n"


def test_the_command_opens_a_browser_only_on_a_machine_with_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "get", lambda: object())
    assert has_browser({"DISPLAY": ":0"}, "linux", is_terminal=True)
    assert has_browser({}, "darwin", is_terminal=True)
    assert not has_browser({"DISPLAY": ":0"}, "linux", is_terminal=False)
    assert not has_browser({}, "linux", is_terminal=True)
    assert not has_browser({"DISPLAY": "localhost:10.0", "SSH_CONNECTION": "a b c d"}, "linux", is_terminal=True)


def test_the_token_reaches_the_browser_in_a_private_file_and_never_in_a_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[Any] = []

    def look(url: str) -> bool:
        path = Path(url.removeprefix("file://"))
        opened.extend((url, path, path.read_text(), path.parent.stat().st_mode & 0o077))
        return True

    monkeypatch.setattr(webbrowser, "open", look)
    assert open_by_file("http://127.0.0.1:1/#token=edg_x&actor=ada", wait_s=0.0)
    url, path, text, others = opened
    assert "edg_x" not in url
    assert 'url=http://127.0.0.1:1/#token=edg_x&amp;actor=ada"' in text
    assert others == 0
    assert not path.exists()


EXPORTED = re.compile(r"^export (?:async )?(?:function|const|class) (\w+)", re.MULTILINE)
SHARED = ("words.js", "marks.js", "ui.js", "store.js")


@pytest.mark.parametrize("file", OWN, ids=lambda each: each.name)
def test_a_file_imports_every_shared_name_that_it_uses(file: Path) -> None:
    text = file.read_text()
    shared = {name for each in SHARED for name in EXPORTED.findall((STATIC / each).read_text())}
    used = {name for name in shared if re.search(rf"(?<![\w.$]){name}\(|<\$\{{{name}\}}", text)}
    known = set(re.findall(r"\w+", " ".join(re.findall(r"import \{([^}]*)\}", text))))
    known |= set(re.findall(r"(?:function|const|let|class) (\w+)", text))
    known |= {name for names in re.findall(r"(?:const|let) \{([^}]*)\}", text) for name in re.findall(r"\w+", names)}
    known |= {name for names in re.findall(r"function \w+\(\{?([^)]*)\)", text) for name in re.findall(r"\w+", names)}
    known |= {name for names in re.findall(r"(?:const|let) ([^;]*);", text) for name in re.findall(r"(\w+) =", names)}
    assert used - known == set()
