"""A page sends three requests about a model's data at once: they share one computation, and a failure is not cached."""

import asyncio
from typing import Any

import pytest

from contract.errors import Code, WorldError
from controller.api.drift_routes import MAX_LOOKS, KeptLooks


def test_simultaneous_questions_share_one_computation_and_one_cancelled_caller_does_not_end_it() -> None:
    async def story() -> None:
        looked: list[str] = []

        async def look() -> Any:
            looked.append("m")
            await asyncio.sleep(0.01)
            return "report"

        kept = KeptLooks()
        leaves = asyncio.create_task(kept.of(("m", None, 7.0), look))
        stay = [asyncio.create_task(kept.of(("m", None, 7.0), look)) for _ in range(2)]
        await asyncio.sleep(0)
        leaves.cancel()
        assert await asyncio.gather(*stay) == ["report", "report"]
        assert await kept.of(("m", 2, 7.0), look) == "report"
        assert looked == ["m", "m"], "another release is another question"

    asyncio.run(story())


def test_a_failed_computation_is_repeated_and_only_few_results_are_kept() -> None:
    async def story() -> None:
        failing = [True]

        async def look() -> Any:
            if failing[0]:
                raise WorldError(Code.DISK_FULL, "no space left")
            return "report"

        kept = KeptLooks()
        with pytest.raises(WorldError):
            await kept.of(("m", None, 7.0), look)
        failing[0] = False
        assert await kept.of(("m", None, 7.0), look) == "report"
        for release in range(40):
            await kept.of(("m", release, 7.0), look)
        assert len(kept._looks) <= MAX_LOOKS

    asyncio.run(story())
