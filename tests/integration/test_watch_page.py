"""The page of a model with drift, labels, retraining and data sets; and a plan that is approved by keyboard."""

import asyncio
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from contract.captured import Captured, CapturedRow
from controller.config import Config, StorageConfig
from controller.retraining.model import Decision, Proposal, Retraining
from controller.state import State, open_state
from controller.verbs import data_sets
from controller.verbs import push as push_verb
from tests.controller.reconcile_worlds import campaign
from tests.controller.registry_worlds import pushed
from tests.controller.test_alerts_about_data import plant
from tests.edgeward.test_drift_commands import with_reference
from tests.integration.page_browser import NEEDS_CHROMIUM, PHONE, Look, Served, until
from tests.integration.test_page_accessibility import check

pytestmark = NEEDS_CHROMIUM
WHY = "QualityDropped: m: 0.57 is the quality that is estimated"
SHOTS = os.environ.get("EDGEWARD_SHOTS", "")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("watch_page")
    with ThreadPoolExecutor(1) as beside:  # a browser's library keeps an event loop in this thread
        beside.submit(_kept, directory).result()
    found = Served(directory, _proposed)
    yield found
    found.close()


def _kept(directory: Path) -> None:
    """A model with weeks of counts that moved, rows to be labelled, a data set, and a retraining that was refused."""

    async def run_conversion(*_: object, **__: object) -> Any:
        return with_reference()

    state = open_state(Config(storage=StorageConfig(data_dir=str(directory / "data"))))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(push_verb, "run_conversion", run_conversion)
        patched.setattr(state.deliveries, "begin", lambda model, manifest: None)
        pushed(state, directory)
    plant(state)
    rows = tuple(_unlabelled(number) for number in range(30))
    state.captures.keep([("d1", Captured(protocol=1, device="d1", boot=1, seq=1, rows=rows))])
    asyncio.run(data_sets.make(state, "weather", data_sets.RowsWanted("m", labelled=True), actor="ada"))
    proposal = Proposal(trigger="alert", detail=WHY)
    refused = Decision(
        at=time.time() - 600, model="m", champion=1, word="no", reason="gain_not_shown", proposals=(proposal,),
        detail="not shown to be more than 3 points; what moved: b (40.0% of rows, more in 2 to 3)",
    )  # fmt: skip
    state.retrainings.note(refused)
    state.retrainings.save(
        Retraining(
            id="t-20261127-1", model="m", champion=1, status="stopped", decision=refused, created_at=time.time() - 300,
            detail="deleted_data: trained on deleted rows: weather@1",
        )
    )  # fmt: skip
    state.close()


def _unlabelled(number: int) -> CapturedRow:
    return CapturedRow(
        at=time.time() - 60 * number, model="m", release=1, why="sampled", inputs={"a": 0.5 * number, "b": 1.25},
        value="rain", confidence=0.5 + number / 100,
    )  # fmt: skip


def _proposed(state: State) -> None:
    state.save_rollouts(campaign("d0", "d1", release=1, status="proposed", proposers=("ada",), created_by="ada"))


@pytest.fixture
def look(browser: Any, served: Served) -> Iterator[Look]:
    found = Look(browser, served)
    found.enter()
    yield found
    found.close()


def words(look: Look) -> str:
    return " ".join(str(look.page.inner_text("main")).split())


def shot(look: Look, name: str) -> None:
    """Saves a picture of the whole page if EDGEWARD_SHOTS names a directory."""
    if SHOTS:
        look.page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True)


def test_the_page_of_a_model_shows_movements_estimates_and_the_reason_against_a_training(look: Look) -> None:
    look.go("/models/m", "text=What has moved")
    look.page.wait_for_selector("text=Retraining")
    shown = words(look)
    for part in ("b moved most", "Estimated accuracy without labels 0.5", "it may be relied on", "not trained", WHY):
        assert part in shown or part.replace("b ", "confidence ") in shown, part
    assert "what moved: b (40.0% of rows" in shown
    assert "of the rows have c out of range" in shown
    first = look.page.locator("ul.small-multiples h3").all_inner_texts()
    parts = [float(text.split()[-2]) for text in first]
    assert parts[0] == max(parts[:2])
    shot(look, "model-light")
    check(look)
    shot(look, "model-dark")
    look.page.set_viewport_size(PHONE)
    assert look.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    shot(look, "model-phone")


def test_a_label_is_given_by_keyboard_alone_and_the_next_row_is_shown(look: Look, served: Served) -> None:
    look.go("/models/m", "text=It was right")
    before = len(served.on_loop(lambda: served.state.captures.labelled("m", 100_000)))
    look.page.get_by_label("The true answer, where it was not").focus()
    look.page.keyboard.type("dry")
    look.page.keyboard.press("Enter")
    look.page.wait_for_selector("text=1 of 20 given today")
    look.page.get_by_role("button", name="It was right").focus()
    look.page.keyboard.press("Enter")
    look.page.wait_for_selector("text=2 of 20 given today")
    kept = served.on_loop(lambda: served.state.captures.labelled("m", 100_000))
    assert len(kept) == before + 2
    assert {"dry", "rain"} <= {each.label for each in kept}
    assert served.on_loop(lambda: served.state.journal.audit_entries(1))[0]["actor"] == "local:mara"


def test_data_sets_have_a_page_that_a_key_opens(look: Look) -> None:
    look.page.keyboard.press("g")
    look.page.keyboard.press("d")
    look.page.wait_for_selector("text=weather@1")
    assert look.page.url.endswith("/data")
    check(look)
    shot(look, "data-dark")


def test_task_approve_the_plan_of_another_person_by_keyboard_alone(browser: Any, served: Served) -> None:
    look = Look(browser, served)
    look.enter(served.token("lena", "approver")[1])
    look.go("/rollouts/r", "text=I have looked at plan")
    approve = look.page.get_by_role("button", name="Approve this plan")
    assert approve.get_attribute("aria-disabled") == "true"
    look.page.locator("label.tick input").focus()
    look.page.keyboard.press("Space")
    until(lambda: approve.get_attribute("aria-disabled") is None)
    look.page.keyboard.press("Tab")
    assert "Approve this plan" in look.page.evaluate("document.activeElement.textContent")
    look.page.keyboard.press("Enter")
    until(lambda: served.state.world.durable.rollouts["r"].status == "running")
    rollout = served.state.world.durable.rollouts["r"]
    assert rollout.approved_by == "lena"
    entries = served.on_loop(lambda: served.state.journal.audit_entries(3))
    assert ("rollout approve", rollout.plan_digest) in [(each["action"], each["detail"]) for each in entries]
    look.close()
