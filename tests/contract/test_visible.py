"""Text of a device can neither control the terminal of an operator nor write lines into a log."""

import io
import json
import logging
from argparse import Namespace

import pytest

import agent.adapters.log_lines as agents
import agent.cli as agents_cli
import controller.cli as controllers
from contract.log_lines import LIBRARIES
from contract.visible import one_line, visible, visible_values


def test_control_characters_are_shown_as_escapes_and_all_other_text_is_unchanged() -> None:
    assert visible("\x1b[31mred\x1b]0;pwn\x07\r") == r"\x1b[31mred\x1b]0;pwn\x07\r"
    assert visible("a\u202eb\u2066c\x85\x7f") == r"a\u202eb\u2066c\x85\x7f"
    assert visible("Öl 温度 😀\n\tnext") == "Öl 温度 😀\n\tnext"


def test_every_text_and_key_of_an_answer_is_made_visible() -> None:
    said = {"device": "d\x1b", "labels": {"k\r": ["\u202e", 1, None, True]}}
    for ascii_only in (True, False):
        raw = json.dumps(said, ensure_ascii=ascii_only).encode()
        assert visible_values(raw, json.loads(raw)) == {
            "device": r"d\x1b", "labels": {r"k\r": [r"\u202e", 1, None, True]}
        }  # fmt: skip


def test_no_message_can_start_a_new_line_of_a_log() -> None:
    assert one_line("well\nINFO: FORGED\x1b[0m") == r"well\nINFO: FORGED\x1b[0m"


@pytest.mark.parametrize("formatter", [agents.OneLine, controllers.OneLine])
def test_a_record_is_one_line_and_a_traceback_has_its_own_lines(formatter: type[logging.Formatter]) -> None:
    told = io.StringIO()
    to = logging.StreamHandler(told)
    to.setFormatter(formatter())
    log = logging.Logger("one line")
    log.addHandler(to)
    log.warning("it said %s", "well\nINFO: FORGED")
    try:
        raise ValueError("cause")
    except ValueError:
        log.exception("fails")
    lines = told.getvalue().splitlines()
    assert lines[0].endswith(r"WARNING one line: it said well\nINFO: FORGED")
    assert lines[1].endswith("ERROR one line: fails")
    assert lines[2] == "Traceback (most recent call last):"


def test_libraries_log_only_warnings_unless_debug_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Key abc failed to verify root` is a line of TUF beside our own words about the same document."""
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    begins = (agents_cli._begin_logging, controllers._begin_logging)
    try:
        for begin in begins:
            for level, is_told in (("info", False), ("debug", True)):
                begin(Namespace(log_level=level, log_format="text"))
                logging.getLogger().setLevel(logging.DEBUG)
                assert logging.getLogger("tuf.api._payload").isEnabledFor(logging.INFO) == is_told
                assert logging.getLogger("tuf.api._payload").isEnabledFor(logging.WARNING)
    finally:
        logging.getLogger().setLevel(logging.WARNING)
        for name in LIBRARIES:
            logging.getLogger(name).setLevel(logging.NOTSET)
