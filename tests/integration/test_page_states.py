"""axe-core finds nothing in any state of any page, in both themes, on a wide screen and on a phone."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import pytest

from contract.run_record import Status as RunStatus
from controller.convert.under_way import STEPS, Step
from controller.fleet.device_health import HealthWord
from controller.rollout.model import Status
from controller.rollout.outcome import MemberOutcome
from controller.trust.scope import Scope
from controller.verbs import tokens
from tests.controller.page_training_worlds import FIRST, SECOND, fill_with_trainings
from tests.controller.page_worlds import STAR, fill
from tests.integration import page_states, test_rollout_page, test_watch_page
from tests.integration.page_browser import NEEDS_CHROMIUM, PHONE, WIDE, Look, Served
from tests.integration.test_page_accessibility import AXE, COLOUR, RUN, TAGS

pytestmark = [*NEEDS_CHROMIUM, pytest.mark.soak]
LISTS = ("/fleet", "/rollouts", "/models", "/runs", "/data", "/alerts", "/audit")


def faults(look: Look) -> list[str]:
    """Returns what axe finds: by all rules in the light theme, by rules on colour in the dark one, at two widths."""
    found = []
    if not look.page.evaluate("typeof axe === 'object'"):
        look.page.evaluate(AXE)
    for size in (WIDE, PHONE):
        look.page.set_viewport_size(size)
        for theme, only in (("light", {"type": "tag", "values": TAGS}), ("dark", {"type": "rule", "values": COLOUR})):
            look.page.emulate_media(color_scheme=theme)
            found += [f"{theme}, {size['width']} px: {each}" for each in look.page.evaluate(RUN, only)]
    look.page.set_viewport_size(WIDE)
    return found


def _world(name: str, directory: Path) -> Served:
    """A controller whose fleet has devices, a running rollout, a monitored model, or nothing yet."""
    if name == "trainings":
        return Served(directory, fill_with_trainings)
    if name == "fleet":
        return Served(directory, lambda state: fill(state, time.time(), 60))
    if name == "empty":
        return Served(directory, lambda state: None)
    with ThreadPoolExecutor(1) as beside:  # a browser's library keeps an event loop in this thread
        if name == "rollout":
            beside.submit(test_rollout_page._pushed, str(directory / "data")).result()
            return Served(directory, test_rollout_page._played)
        beside.submit(test_watch_page._kept, directory).result()
        return Served(directory, test_watch_page._proposed)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Served]]:
    made: dict[str, Served] = {}

    def world(name: str) -> Served:
        if name not in made:
            made[name] = _world(name, tmp_path_factory.mktemp(name))
        return made[name]

    yield world
    for each in made.values():
        each.close()


Opens = Callable[[str, str], Look]


@pytest.fixture
def opens(browser: Any, worlds: Callable[[str], Served]) -> Iterator[Opens]:
    made: list[Look] = []

    def opened(world: str, token: str = "") -> Look:
        look = Look(browser, worlds(world))
        look.expected = ("/v1/", "Failed to load", "ERR_")
        look.enter(*([token] if token else []))
        made.append(look)
        return look

    yield opened
    for each in made:
        page_states.answers_again(each)
        each.close()


def place_of(served: Served, page: str) -> str:
    """Returns the address of a page; ROLLOUT stands for the newest rollout."""
    return page.replace("ROLLOUT", next(reversed(served.state.world.durable.rollouts), ""))


FILLED = (
    ("fleet", "/fleet"), ("fleet", f"/devices/{STAR}"), ("fleet", "/alerts"), ("fleet", "/audit"),
    ("rollout", "/rollouts"), ("rollout", "/rollouts/ROLLOUT"), ("rollout", "/models"), ("rollout", "/models/pump"),
    ("watch", "/data"), ("watch", "/models/m"), ("watch", "/rollouts/r"),
    ("trainings", "/runs"), ("trainings", f"/runs/{FIRST}?with={SECOND}"), ("trainings", "/data"),
    ("trainings", "/data/weather?version=2&against=1"),
)  # fmt: skip
BROKEN = (
    page_states.loading, page_states.failing, page_states.forbidden, page_states.missing, page_states.parts_missing,
    page_states.unreachable,
)  # fmt: skip


@pytest.mark.parametrize("state", BROKEN, ids=lambda each: each.__name__)
@pytest.mark.parametrize(("world", "page"), FILLED)
def test_axe_finds_nothing_where_an_answer_is_missing(opens: Any, world: str, page: str, state: Any) -> None:
    look = opens(world)
    state(look, place_of(look.served, page))
    assert faults(look) == []


@pytest.mark.parametrize(
    "page", [*LISTS, "/devices/nobody", "/rollouts/none", "/models/none", "/runs/none", "/data/none", "/none"]
)
def test_axe_finds_nothing_on_empty_pages(opens: Any, page: str) -> None:
    look = opens("empty")
    look.go(page, "main h1")
    page_states.settle(look)
    assert faults(look) == []


@pytest.mark.parametrize("role", ["viewer", "operator", "approver", "scoped"])
@pytest.mark.parametrize(("world", "page"), FILLED)
def test_axe_finds_nothing_for_any_reader(
    opens: Any, worlds: Callable[[str], Served], world: str, page: str, role: Any
) -> None:
    look = opens(world, token_of(worlds(world), role))
    look.go(place_of(look.served, page), "main h1")
    page_states.settle(look)
    assert faults(look) == []


def token_of(served: Served, role: Any) -> str:
    """Returns a token of a person with a role; the scoped operator may act on a site that no device has."""
    if role != "scoped":
        return served.token(f"reader-{time.monotonic_ns()}", role)[1]
    scope, make = Scope(labels={"site": "none"}), tokens.create_token
    name = f"bea-{time.monotonic_ns()}"
    return served.on_loop(lambda: make(served.state, name, ("operator",), days=1, actor="test", scope=scope))[1]


@pytest.mark.parametrize(("world", "page"), FILLED)
def test_axe_finds_nothing_in_any_dialog_nor_with_every_table_open(opens: Any, world: str, page: str) -> None:
    look = opens(world)
    look.go(place_of(look.served, page), "main h1")
    page_states.settle(look)
    look.page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    wrong = {"tables": faults(look)} | {title: faults(look) for title in page_states.dialogs(look)}
    assert {title: found for title, found in wrong.items() if found} == {}


STATUSES = get_args(Status)
OUTCOMES = get_args(MemberOutcome)


def with_status(status: str) -> Callable[[Any], Any]:
    """Returns the answer about a rollout with this status, with each outcome in its last wave."""

    def changed(found: Any) -> Any:
        counts = dict.fromkeys(OUTCOMES, 1) | {"succeeded": 3}
        found["progress"][-1] |= {"counts": counts, "strata": {"": counts}, "state": "done", "hold": True}
        is_open = status in ("proposed", "running", "paused", "rolling_back", "aborting")
        said = {"status": status, "open": is_open, "counts": counts, "reason": "health_latency on 2 devices"}
        return found | said | {"retry_of": "r-20261126-083012-5c1e", "approved_by": "jonas", "proposers": ["mara"]}

    return changed


@pytest.mark.parametrize("status", STATUSES)
def test_axe_finds_nothing_in_any_status_of_a_rollout(opens: Any, status: str) -> None:
    look = opens("rollout")
    page = place_of(look.served, "/rollouts/ROLLOUT")
    page_states.answered(look, page, with_status(status), f"/v1{page}")
    wrong = faults(look)
    for rule in range(4):
        look.page.locator("button.rule").nth(rule).click()
        wrong += faults(look)
    wrong += [f"{title}: {each}" for title in page_states.dialogs(look) for each in faults(look)]
    assert wrong == []


VERSIONS: dict[str, dict[str, Any]] = {
    "withdrawn": {"withdrawn": {"by": "mara", "at": "2026-11-26T08:00:00Z", "reason": "wrong units"}},
    "gate failed": {"passed": False, "gates": [{"gate": "size", "passed": False, "detail": "9 MB, 8 MB allowed"}]},
    "rolled back": {"rolled_back": True}, "files removed": {"removed": True}, "ready": {"devices": []},
}  # fmt: skip


@pytest.mark.parametrize("standing", VERSIONS)
def test_axe_finds_nothing_in_any_state_of_a_version(opens: Any, standing: str) -> None:
    look = opens("watch")

    def changed(found: Any) -> Any:
        return [each | VERSIONS[standing] for each in found]

    page_states.answered(look, "/models/m", changed, "/v1/models/m/versions")
    assert faults(look) == []


ALERTS = ("firing", "pending", "silenced", "inhibited", "resolved")


@pytest.mark.parametrize("state", ALERTS)
def test_axe_finds_nothing_in_any_state_of_an_alert(opens: Any, state: str) -> None:
    look = opens("fleet")

    def changed(found: Any) -> Any:
        return found | {"items": [each | {"state": state, "ends_at": each["starts_at"]} for each in found["items"]]}

    page_states.answered(look, "/alerts", changed, "/v1/alerts")
    assert faults(look) == []


@pytest.mark.parametrize("health", get_args(HealthWord))
def test_axe_finds_nothing_in_any_state_of_a_device(opens: Any, health: str) -> None:
    look = opens("fleet")
    presence = health if health in ("silent", "offline") else "online"
    said = {"health": health, "presence": presence, "why": "v13 was rolled back: health_latency", "models": []}
    page_states.answered(look, f"/devices/{STAR}", lambda found: found | said, f"/v1/devices/{STAR}")
    assert faults(look) == []


RUN_STATUSES = get_args(RunStatus)


@pytest.mark.parametrize("status", RUN_STATUSES)
def test_axe_finds_nothing_however_a_run_ended(opens: Any, status: str) -> None:
    look = opens("trainings")

    def changed(found: Any) -> Any:
        ended = {"status": status, "error": "ValueError: no rows", "data": [], "artifacts": [], "params": {}}
        return found | {"record": found["record"] | ended | {"code": None}, "took_s": None}

    page_states.answered(look, f"/runs/{FIRST}", changed, f"/v1/runs/{FIRST}")
    assert faults(look) == []


@pytest.mark.parametrize("step", STEPS)
def test_axe_finds_nothing_at_whatever_step_a_push_is(opens: Any, step: Step) -> None:
    look = opens("empty")
    push: dict[str, Any] = {"model": "weather", "by": "ada", "began_at": "2026-11-27T09:00:00Z", "took_s": 12.0}
    push |= {"step": step, "words": STEPS[step][0], "number": 1, "of": len(STEPS), "ratio": 0.25}
    push |= {"received_bytes": 1, "total_bytes": 2}
    page_states.answered(look, "/models", lambda _: [push], "/v1/pushes")
    look.page.get_by_role("progressbar").wait_for()
    assert faults(look) == []


def test_a_fault_of_contrast_or_of_a_name_is_found(opens: Any) -> None:
    look = opens("empty")
    look.go("/fleet", "main h1")
    look.page.evaluate("document.querySelector('main h1').style.color = '#9aa4a3'")
    look.page.evaluate("document.querySelector('main').append(document.createElement('input'))")
    found = faults(look)
    assert any("color-contrast" in each and each.startswith("light, 390 px") for each in found)
    assert any("label" in each for each in found)
