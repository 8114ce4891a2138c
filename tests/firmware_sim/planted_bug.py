"""A bug that is planted in the real code: what is broken, in which scenario it shows, and which law notices."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Bug:
    """What is broken, in which scenario it shows, and which law notices."""

    name: str
    where: str
    scenario: str
    law: str
    plant: Plant


class Bugs(list[Bug]):
    """The bugs of one program. `bug` adds the function below it."""

    def bug(self, where: str, scenario: str, law: str) -> Callable[[Plant], Plant]:
        def add(plant: Plant) -> Plant:
            self.append(Bug(plant.__name__, where, scenario, law, plant))
            return plant

        return add
