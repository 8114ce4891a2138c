"""The calls of the client about later rollouts: policies that start them, and templates.

Decides what a plan or a start accepts. Refuses to know HTTP (`transport`).
"""

from collections.abc import Sequence
from typing import Any

from edgeward import arguments
from edgeward.answers.rollouts import DeploymentPolicy, Template
from edgeward.answers.table import Table
from edgeward.transport import Transport

_STRATEGY = '{"steps": [...]}, or the name of one'


class DeploymentCalls:
    """Calls about policies and templates."""

    _transport: Transport

    def deploy(
        self,
        model: str,
        *,
        strategy: str | dict[str, Any] = "canary",
        selector: dict[str, str] | None = None,
        approval: bool = False,
    ) -> DeploymentPolicy:
        """Sets a policy that rolls out every later version of a model that passes its gates."""
        _check_rollout(model, None, strategy, selector)
        arguments.flag("approval", approval)
        body = {"strategy": strategy, "selector": selector or {}, "approval": approval}
        return DeploymentPolicy.read(self._transport.put(f"/v1/models/{model}/deployment", body))

    def deployments(self) -> dict[str, DeploymentPolicy]:
        """Deployment policies by model."""
        found = self._transport.get("/v1/deployments")
        return {model: DeploymentPolicy.read(policy) for model, policy in found.items()}

    def end_deployment(self, model: str) -> None:
        """Removes the policy of a model: its versions wait for a person to roll them out."""
        self._transport.delete(f"/v1/models/{model}/deployment")

    def save_template(
        self,
        name: str,
        *,
        strategy: str | dict[str, Any],
        selector: dict[str, str] | None = None,
        hours: Sequence[str] = (),
        note: str = "",
    ) -> Template:
        """Saves the next revision of a rollout template; `rollout(..., template=name)` uses the newest.

        `hours` are in UTC, as `mon-fri 08:00-16:00`.
        """
        arguments.text("name", name)
        if not isinstance(strategy, str):
            arguments.by_name("strategy", strategy, None, _STRATEGY)
        arguments.by_name("selector", selector, arguments.text, '{"site": "oslo"}')
        body = {"strategy": strategy, "selector": selector or {}, "hours": list(hours), "note": note}
        return Template.read(self._transport.put(f"/v1/rollout-templates/{name}", body))

    def templates(self) -> Table[Template]:
        """Returns the newest revision of every rollout template, sorted by name."""
        return Table(map(Template.read, self._transport.get("/v1/rollout-templates")))

    def template(self, name: str) -> Table[Template]:
        """Returns the kept revisions of a rollout template, the newest first."""
        return Table(map(Template.read, self._transport.get(f"/v1/rollout-templates/{name}")))

    def delete_template(self, name: str) -> Template:
        """Deletes a rollout template with its revisions; returns the newest."""
        return Template.read(self._transport.delete(f"/v1/rollout-templates/{name}"))


def wanted_body(
    model: str,
    release: int | str | None,
    way: tuple[str | dict[str, Any] | None, str],
    selector: dict[str, str] | None,
    plan_digest: str | None = None,
    *,
    again: bool,
    schedule: dict[str, Any] | None,
) -> dict[str, Any]:
    """A plan as the API takes it, or with a `plan_digest` a start; `way` is (strategy, template). BadInput
    `request_invalid` for anything else.
    """
    strategy, template = way
    _check_rollout(model, release, strategy, selector, again=again, schedule=schedule)
    body = {"model": model, "release": release, "strategy": strategy, "selector": selector or {}, "again": again}
    if template:
        arguments.text("template", template)
        body["template"] = template
    if plan_digest is not None:
        arguments.text("plan_digest", plan_digest)
        body["plan_digest"] = plan_digest
    return body | {"schedule": schedule or {}}


def _check_rollout(
    model: Any, release: Any, strategy: Any, selector: Any, *, again: Any = False, schedule: Any = None
) -> None:
    """Refuses what a plan or a rollout does not accept, by the name of the argument. BadInput `request_invalid`."""
    arguments.text("model", model)
    if release is not None:
        arguments.text_or_number("release", release)
    if strategy is not None and not isinstance(strategy, str):
        arguments.by_name("strategy", strategy, None, _STRATEGY)
    arguments.by_name("selector", selector, arguments.text, '{"site": "oslo"}')
    arguments.flag("again", again)
    arguments.by_name("schedule", schedule, None, '{"hours": ["mon-fri 08:00-16:00"]}')
