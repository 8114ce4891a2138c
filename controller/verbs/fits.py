"""Which devices of the fleet can run a version, in which of its forms, and why the others cannot. Changes nothing.

Decides that a failed gate or a withdrawal is ignored: only hardware, runtimes, pins and quarantine are checked.
Refuses to know rollouts, and HTTP.
"""

from collections import Counter
from dataclasses import dataclass, field

from contract.desired import TrialPolicy
from controller.fleet.fit import choose_form, forms_of
from controller.state import State

FULL = "full"
"""The name of the first form, if a form is named."""


@dataclass
class Fit:
    """Devices by form, and those that cannot run the version, with the reason."""

    forms: Counter[str] = field(default_factory=Counter)
    unfit: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    """Devices that have not reported their hardware yet: their probe decides."""


def fit(state: State, model: str, release: int) -> Fit:
    """Checks a version against every device. BadInput `unknown_model`, `unknown_version`."""
    forms = forms_of(state.registry.version(model, release).manifest)
    found, durable = Fit(), state.world.durable
    for device, twin in sorted(durable.twins.items()):
        form, reason = choose_form(twin, model, forms, TrialPolicy(), durable.quarantine.get(device, {}))
        if form is None:
            found.unfit[device] = reason.words if reason is not None else "the version has no form"
        elif twin.hardware is None:
            found.unknown.append(device)
        else:
            found.forms[form.name or FULL] += 1
    return found
