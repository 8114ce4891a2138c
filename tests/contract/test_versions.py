"""Versions follow the clock, so that those of a restored controller are higher than the lost ones."""

import pytest

from contract.versions import MAX_VERSION, next_version


def test_a_version_is_the_larger_of_one_more_and_the_seconds_since_1970() -> None:
    assert next_version(0, 1_700_000_000.9) == 1_700_000_000
    assert next_version(1_700_000_000, 1_700_000_000.0) == 1_700_000_001
    assert next_version(1_700_000_005, 1_700_000_000.0) == 1_700_000_006, "a clock that was set back"
    assert next_version(4, 0.0) == 5


def test_versions_of_a_controller_restored_from_yesterday_are_higher_than_those_of_today() -> None:
    yesterday, today = 1_700_000_000.0, 1_700_086_400.0
    lost = backed_up = next_version(0, yesterday)
    for second in range(1000):
        lost = next_version(lost, yesterday + second)
    assert next_version(backed_up, today) > lost


def test_no_version_exceeds_what_every_json_reader_reads_exactly() -> None:
    assert next_version(MAX_VERSION - 1, 0.0) == MAX_VERSION
    with pytest.raises(ValueError, match="largest"):
        next_version(MAX_VERSION, 0.0)
