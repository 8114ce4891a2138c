"""Compares what a change reaches with the scope of its caller.

Decides the words of a refusal: what lies outside, and what would be inside. Refuses to know HTTP, and the routes:
`api.scopes` has that table.
"""

from collections.abc import Iterable, Mapping

from controller.clock import stamp
from controller.fleet.twin import Twin
from controller.rollout.model import Rollout
from controller.state import State
from controller.trust.scope import Scope
from controller.verbs import policies, templates
from controller.verbs.rollouts import find

MAX_AUDITED_CHARS = 500
MAX_NAMED = 3
"""The most devices outside a scope that a refusal names."""


def whole_model(scope: Scope, model: str) -> str:
    """Returns why a change of a model everywhere is outside; empty if it is inside."""
    if scope.has_whole_model(model):
        return ""
    if not scope.has_model(model):
        return f"it is about the model {model[:64]}"
    return f"it is about {model[:64]} on every device of the fleet"


def selection(scope: Scope, model: str, selector: Mapping[str, str]) -> str:
    """Returns why a change of a model on selected devices is outside; empty if it is inside."""
    if scope.has_selection(model, selector):
        return ""
    if not scope.has_model(model):
        return f"it is about the model {model[:64]}"
    wanted = " ".join(f"--select {key}={value}" for key, value in sorted(scope.labels.items()))
    return f"it would include devices elsewhere, now or later: add {wanted}"


def rollout(state: State, scope: Scope, name: str) -> str:
    """Returns why a change of a rollout is outside; empty if it is inside. BadInput `unknown_rollout`."""
    found = find(state, name)
    if not found.retry_of or not scope.has_model(found.model):
        return _of_rollout(scope, found)
    return _outside(scope, {each.device: _labels(state, each.device) for each in found.members}, {})


def rollout_refusal(state: State, scope: Scope, name: str) -> str:
    """Returns the refusal for a caller whose scope does not cover a rollout; empty if it does."""
    words = rollout(state, scope, name) if scope.limits else ""
    return refusal(scope, words) if words else ""


def refusal(scope: Scope, words: str) -> str:
    """Returns the refusal for a caller whose action is outside the scope; `words` name what is outside."""
    return f"your token is for {scope.words}, and {words}"


def deployment(state: State, scope: Scope, model: str, selector: Mapping[str, str] | None) -> str:
    """Returns why a change of a model's policy is outside: the old policy, or the new one (None: none)."""
    known = policies.all_policies(state).get(model)
    about = [each for each in (known.selector if known is not None else None, selector) if each is not None]
    return next((words for each in about if (words := selection(scope, model, each))), "")


def template(state: State, scope: Scope, name: str, selector: Mapping[str, str] | None) -> str:
    """Returns why a change of a rollout template is outside: the old one, or the new one (None: none).

    A template names no model. A start with it is checked against the scope separately.
    """
    known = [each for each in templates.every(state.store) if each.name == name]
    about = [*(each.selector for each in known), *([] if selector is None else [selector])]
    if all(scope.labels.items() <= each.items() for each in about):
        return ""
    wanted = " ".join(f"--select {key}={value}" for key, value in sorted(scope.labels.items()))
    return f"template {name[:64]} is for devices elsewhere as well: it needs {wanted}"


def devices(state: State, scope: Scope, names: Iterable[str]) -> str:
    """Returns why a change of whole devices is outside; empty if every one of them is inside.

    An unknown device has no labels yet, so it is outside every scope with labels.
    """
    known = state.world.durable.twins
    chosen = dict.fromkeys(names)
    models = {name: _models(known[name]) for name in chosen if name in known}
    return _outside(scope, {name: _labels(state, name) for name in chosen}, models)


def model_on_devices(state: State, scope: Scope, model: str, names: Iterable[str]) -> str:
    """Returns why a change of one model on named devices is outside; empty if it is inside."""
    if not scope.has_model(model):
        return f"it is about the model {model[:64]}"
    return _outside(scope, {name: _labels(state, name) for name in dict.fromkeys(names)}, {})


def labels_of_devices(state: State, scope: Scope, changes: Mapping[str, Mapping[str, str | None]]) -> str:
    """Returns why changes of labels are outside: other devices, or exactly the labels by which a device is inside."""
    moved = {key for asked in changes.values() for key in asked if key in scope.labels}
    if moved:
        return f"the label {', '.join(sorted(moved))} decides what is inside: somebody without that limit changes it"
    return devices(state, scope, changes)


def note(state: State, scope: Scope, deed: str, *, actor: str) -> None:
    """Records the scope of a change, beside the entry of the change itself."""
    state.journal.audit(stamp(), actor, "scope", scope.words, deed[:MAX_AUDITED_CHARS])


def _of_rollout(scope: Scope, found: Rollout) -> str:
    if scope.has_selection(found.model, found.selector):
        return ""
    if not scope.has_model(found.model):
        return f"{found.id} is about the model {found.model}"
    selector = ", ".join(f"{key}={value}" for key, value in sorted(found.selector.items())) or "every device"
    return f"{found.id} is about {selector}"


def _outside(scope: Scope, labels: Mapping[str, Mapping[str, str]], models: Mapping[str, set[str]]) -> str:
    found = [name for name, own in labels.items() if not scope.has_device(own, models.get(name, ()))]
    if not found:
        return ""
    more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    named = ", ".join(name[:64] for name in found[:MAX_NAMED])
    other = sorted({each for name in found for each in models.get(name, ()) if not scope.has_model(each)})
    runs = f", which run {', '.join(other[:MAX_NAMED])} as well" if other else ""
    return f"it reaches {named}{more}{runs}"


def _labels(state: State, device: str) -> Mapping[str, str]:
    twin = state.world.durable.twins.get(device)
    return twin.labels if twin is not None else {}


def _models(twin: Twin) -> set[str]:
    return {*twin.desired, *twin.reported}
