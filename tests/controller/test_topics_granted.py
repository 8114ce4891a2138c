"""The broker of a real fleet allows every message that agents send: messages on other topics are lost."""

from pathlib import Path

import pytest

from contract import topics

ACL = Path(__file__).parents[2] / "configs" / "mosquitto" / "acl"
KINDS = sorted(kind for name, kind in vars(topics).items() if name.startswith("UP_"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_device_may_write_each_topic_that_agents_write_and_no_other(kind: str) -> None:
    granted = [line for line in ACL.read_text().splitlines() if line.startswith("pattern write")]
    assert f"pattern write {topics.ROOT}/d/%u/up/{kind}" in granted
    assert len(granted) == len(KINDS)
