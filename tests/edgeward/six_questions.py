"""Six questions of an operator about a staged fleet: the command that answers each, its output, and the right answer.

Decides docs/guides/six-questions.md, which `python docs/generate.py` writes and `tests/test_docs.py` compares. This
file has the right answers, as the fleet was made; `tests/edgeward/test_six_questions.py` holds each answer to it.
"""

import datetime
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

from click.testing import CliRunner

from edgeward.cli import render, rollout_looks
from edgeward.cli.main import cli
from tests.edgeward.staged_fleet import FLEET, MODEL, NOW, REFUSED, ROLLOUT, SILENT, TOKEN, WENT_BACK, served

COLUMNS = 80


@dataclass(frozen=True, slots=True)
class Question:
    """One question, what is true, and where the answer is."""

    asked: str
    command: str
    address: str
    """The page in the browser that answers it as well."""
    truth: str
    says: tuple[str, ...]
    """What a right answer must contain."""
    says_not: tuple[str, ...] = ()
    """What a right answer must not contain, because it is about others."""
    part: str = "main"
    """The part of the page, as CSS, that holds the answer and nothing about others."""
    page_says: tuple[str, ...] = ()
    """What the page must say where its words are not those of the command."""

    @property
    def on_page(self) -> tuple[str, ...]:
        """What the page must say for this truth."""
        return self.page_says or self.says


_OTHERS = tuple(each for each in FLEET if each not in SILENT)
QUESTIONS = (
    Question(
        f"Why is {WENT_BACK} on v3?", f"edgeward device why {WENT_BACK}", f"/devices/{WENT_BACK}",
        "It tried v4, was slower than allowed, and went back to v3 by itself.",
        ("v4 was rolled back", "health_latency", "p95 118 ms", "its last confirmed version is v3", "quarantined",
         ROLLOUT, "started by mara"),
    ),
    Question(
        f"Who failed in {ROLLOUT}, and why?",
        f"edgeward rollout members {ROLLOUT} --outcome failed --outcome rejected", f"/rollouts/{ROLLOUT}",
        f"{WENT_BACK} was too slow with v4, and {REFUSED} has too little memory for it. Nobody else failed.",
        (WENT_BACK, "health_latency p95 118 ms", REFUSED, "memory_short 210 MB needed, 160 MB free"),
        tuple(each for each in FLEET if each not in (WENT_BACK, REFUSED)),
        part="section[aria-label='Devices that have not confirmed']",
        page_says=(WENT_BACK, "health_latency: p95 118 ms", REFUSED, "memory_short: 210 MB needed, 160 MB free"),
    ),
    Question(
        "Which devices are silent?", "edgeward device list --presence silent", "/fleet?presence=silent",
        "Two, for 50 minutes: " + " and ".join(SILENT) + ".",
        ("2 devices", *SILENT, "50 min ago"), _OTHERS, part="#devices",
        page_says=("1 to 2 of 2 devices", *SILENT, "50 min", "sends no heartbeats"),
    ),
    Question(
        "What changed yesterday, and by whom?", "edgeward audit list --since 2026-11-26 --until 2026-11-27",
        "/audit?since=2026-11-26&until=2026-11-27",
        "Three things: ci pushed v4, mara gave holm-003 a label, jonas waived a gate of v4.",
        ("ci", "push", f"{MODEL} v4", "mara", "device label", "shift=night", "jonas", "gate waive", "size: fits"),
        (f"{MODEL} v3", ROLLOUT), part="#entries",
    ),
    Question(
        "How many devices per version?", "edgeward fleet", "/fleet",
        "Ten devices answer with v3, and two with v4.",
        ("12 devices: 10 online, 2 silent", "v3 10", "v4 2"),
        page_says=("devices 12", "online 10", "silent 2", "v3 10", "v4 2"),
    ),
    Question(
        "How long until the rollout is done?", f"edgeward rollout show {ROLLOUT}", f"/rollouts/{ROLLOUT}",
        "At least 105 minutes: 70 are left of the first wave's soak, then 5 of trials and 30 of soak.",
        ("wave 1", "70 min left at least", "At least 1.8 h"),
        page_says=("Wave 1", "70 min left at least", "At least 1.8 h"),
    ),
)  # fmt: skip


def answers() -> dict[str, str]:
    """What each command prints on a screen of 80 columns, by the command; all of them on one fleet."""
    with served() as url, _screen():
        runner = CliRunner(env={"EDGEWARD_URL": url, "EDGEWARD_TOKEN": TOKEN})
        return {each.command: _printed(runner, each.command) for each in QUESTIONS}


def _printed(runner: CliRunner, command: str) -> str:
    done = runner.invoke(cli, command.split()[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return "\n".join(line.rstrip() for line in done.stdout.splitlines()).strip()


@contextmanager
def _screen() -> Iterator[None]:
    """A screen of 80 columns in UTC, whose clock shows NOW."""
    with (
        mock.patch.object(render.console, "_width", COLUMNS),
        mock.patch.object(rollout_looks, "datetime", _Clock),
        mock.patch.dict(os.environ, {"TZ": "UTC"}),
    ):
        time.tzset()
        yield
    time.tzset()


class _Clock(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> "_Clock":
        return cls.fromtimestamp(NOW, tz)


def page() -> str:
    """The page of the guide."""
    said = answers()
    parts = [
        _PART.format(
            asked=each.asked, command=each.command, said=said[each.command], address=each.address, truth=each.truth
        )
        for each in QUESTIONS
    ]
    return _PAGE.format(parts="\n".join(parts), count=len(FLEET), model=MODEL)


_PART = """\
## {asked}

```console
$ {command}
{said}
```

| the truth | in the browser |
|---|---|
| {truth} | `{address}` |
"""

_PAGE = """\
# Six questions, six commands

Made from `tests/edgeward/six_questions.py` by `docs/generate.py`; `tests/test_docs.py` holds it
equal.
The commands ran on a staged fleet of {count} devices with the model `{model}`.
The truth beside an answer is how that fleet was made. `tests/edgeward/test_six_questions.py` holds
each answer to it.

{parts}"""
