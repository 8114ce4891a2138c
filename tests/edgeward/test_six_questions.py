"""Each of six questions has one command whose answer is the truth about a fleet that was made for it."""

import pytest

from tests.edgeward import staged_fleet
from tests.edgeward.six_questions import COLUMNS, QUESTIONS, Question, answers


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    return answers()


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda each: each.asked)
def test_one_command_answers_all_questions_correctly_in_80_columns(question: Question, said: dict[str, str]) -> None:
    answer = said[question.command]
    words = " ".join(answer.split())
    assert [each for each in question.says if each not in words] == []
    assert [each for each in question.says_not if each in words] == []
    assert max(map(len, answer.splitlines())) <= COLUMNS


def test_the_expected_values_come_from_the_fleet_and_not_from_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staged_fleet, "SILENT", ("holm-004",))
    monkeypatch.setitem(staged_fleet.CODES, staged_fleet.WENT_BACK, ("health_accuracy", "0.71, 0.9 needed"))
    said = answers()
    silent, why = QUESTIONS[2], QUESTIONS[0]
    assert not all(each in said[silent.command] for each in silent.says)
    assert not all(each in " ".join(said[why.command].split()) for each in why.says)
