"""The Python client, made for notebooks: push a model, roll it out, look at the fleet.

Answers are typed values with the API's names (`edgeward.answers`); several of a kind come as a `Table`, which prints as
one and becomes a DataFrame with `to_frame()`. Errors are coded and say what to do.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from contract.attestation import Attestation, AttestationPage, Statement
from contract.errors import BadInput
from contract.stick import ALL_MESSAGES
from edgeward import sticks
from edgeward.alert_calls import AlertCalls
from edgeward.answers.answer import read
from edgeward.answers.models import Capture
from edgeward.answers.operators import (
    AuditEntry,
    AuditExport,
    Authority,
    Certificate,
    Health,
    NewToken,
    PublicKey,
    RoleProposal,
    StickDocuments,
    StickTaken,
    StickWritten,
    Token,
    Trust,
)
from edgeward.answers.rollouts import Event, Preview, RolloutSummary
from edgeward.answers.table import Table
from edgeward.answers.telemetry import TelemetryRow
from edgeward.data_calls import DataCalls
from edgeward.deployment_calls import DeploymentCalls, wanted_body
from edgeward.device_calls import DeviceCalls
from edgeward.discussion_calls import DiscussionCalls
from edgeward.drift_calls import DriftCalls
from edgeward.retraining_calls import RetrainingCalls
from edgeward.rollout_handle import RolloutHandle
from edgeward.settings import find_settings
from edgeward.transport import Transport
from edgeward.version_calls import VersionCalls
from edgeward.watcher_calls import WatcherCalls

AUDIT_PAGE = 1_000
"""Entries of the audit per call: the most that the controller answers."""
CAPTURED_PAGE = 10_000
"""Rows of captured inferences per call: the most that the controller answers."""


class Client(
    VersionCalls,
    DeploymentCalls,
    DeviceCalls,
    DataCalls,
    AlertCalls,
    DriftCalls,
    RetrainingCalls,
    DiscussionCalls,
    WatcherCalls,
):
    """A connection to one controller. Without arguments it finds a local one (see `edgeward.settings`).

    >>> client = Client()                                              # doctest: +SKIP
    >>> client.push(pipeline, name="weather", sample=X)                # doctest: +SKIP
    >>> client.rollout("weather", strategy="canary").wait()            # doctest: +SKIP
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self._transport = Transport(find_settings(url, token))

    def health(self) -> Health:
        """Whether controller and broker work: `status` is ok or failing. `findings` may name devices as well."""
        return Health.read(self._transport.get("/v1/health", also=(503,)))

    def export_stick(self, devices: Sequence[str], directory: Path) -> StickWritten:
        """Writes what devices (none named: all) without a broker need to a directory on a stick; `missing` names
        documents that could not be written.

        The documents are written last, so that everything they name is there before them. BadInput `unknown_device`.
        """
        query = "&".join(f"device={device}" for device in devices)
        found = StickDocuments.read(self._transport.get(f"/v1/stick?{query}"))
        written, missing = sticks.write_good_blobs(found.blobs, directory, self._blob)
        sticks.write_documents(found.documents, directory)
        return StickWritten(devices=found.devices, size_bytes=written, missing=found.missing | missing)

    def import_stick(self, directory: Path) -> StickTaken:
        """Brings the messages that devices wrote to a stick to the controller; repeating it does no harm.

        BadInput `message_malformed`, `message_too_large` for an unreadable file, after all others are brought.
        """
        answers, faults = [], []
        for path in sorted(directory.glob(ALL_MESSAGES)):
            try:
                messages = msgspec.to_builtins(sticks.read_messages(path))
            except BadInput as error:
                faults.append(error)
                continue
            answers.append(StickTaken.read(self._transport.post("/v1/stick", messages)))
        if faults:
            raise faults[0]
        return StickTaken(taken=sum(each.taken for each in answers), refused=sum(each.refused for each in answers))

    def captured(self, model: str, after: int = 0) -> Table[Capture]:
        """Returns captured inferences of a model; with `after`, an id, only newer ones.

        In `to_frame()` inputs have their own names, and facts about the inference an underscore before the name.
        """
        found: list[Capture] = []
        while page := self._transport.get(f"/v1/models/{model}/captured?after={after}&limit={CAPTURED_PAGE}"):
            found += map(Capture.read, page)
            after = found[-1].id
        return Table(found)

    def label(self, model: str, labels: dict[int, str | float]) -> int:
        """Gives late labels to captured rows, by their id; returns how many of the rows exist."""
        body = {"labels": [{"id": number, "label": label} for number, label in labels.items()]}
        return int(self._transport.post(f"/v1/models/{model}/labels", body)["rows"])

    def plan(
        self,
        model: str,
        *,
        release: int | str | None = None,
        strategy: str | dict[str, Any] | None = None,
        template: str = "",
        selector: dict[str, str] | None = None,
        again: bool = False,
        schedule: dict[str, Any] | None = None,
    ) -> Preview:
        """Returns the effects of a `rollout`: waves, excluded devices and why, bytes, earliest end, what its rules
        can detect.
        """
        body = wanted_body(model, release, (strategy, template), selector, again=again, schedule=schedule)
        return Preview.read(self._transport.post("/v1/rollouts/plan", body))

    def rollout(
        self,
        model: str,
        *,
        release: int | str | None = None,
        strategy: str | dict[str, Any] | None = None,
        template: str = "",
        selector: dict[str, str] | None = None,
        plan_digest: str = "",
        again: bool = False,
        schedule: dict[str, Any] | None = None,
    ) -> RolloutHandle:
        """Starts a rollout of a release (None: the newest that passed) to devices with these labels (None: all).

        With the `plan_digest` of a `plan` exactly that plan is started, or nothing (`plan_changed`). A version that was
        rolled back is started only with `again` (`version_rolled_back`). `schedule` says when offers are made:
        `not_before` and `not_after` in seconds since 1970, `hours` in UTC such as `["mon-fri 08:00-16:00"]`. A
        `template` gives strategy (else `canary`), selector and hours where they are left out.
        """
        body = wanted_body(model, release, (strategy, template), selector, plan_digest, again=again, schedule=schedule)
        return RolloutHandle(self._transport, self._transport.post("/v1/rollouts", body)["id"])

    def dry_run(
        self,
        model: str,
        *,
        release: int | str | None = None,
        strategy: str | dict[str, Any] | None = None,
        template: str = "",
        selector: dict[str, str] | None = None,
        plan_digest: str = "",
        again: bool = False,
        schedule: dict[str, Any] | None = None,
    ) -> Preview:
        """Returns the effects of a `rollout` for this caller, or its refusal: by role, scope or another rollout."""
        body = wanted_body(model, release, (strategy, template), selector, plan_digest, again=again, schedule=schedule)
        return Preview.read(self._transport.post("/v1/rollouts/dry-run", body))

    def events(self, after: str = "") -> Iterator[Event]:
        """Yields the events of rollouts, as CloudEvents, until the controller ends; with `after`, an id, first the
        kept ones after it.
        """
        return map(Event.read, self._transport.events("/v1/events", after))

    def open_rollout(self, rollout: str) -> RolloutHandle:
        """Returns a handle to an existing rollout."""
        handle = RolloutHandle(self._transport, rollout)
        handle.show()
        return handle

    def rollouts(
        self, *, model: str = "", status: Sequence[str] = (), only_open: bool = False, limit: int = 1000
    ) -> Table[RolloutSummary]:
        """Returns the newest `limit` rollouts (at most 1,000), newest first; of a model, with one of these statuses,
        and only open ones.
        """
        asked = [("limit", str(limit)), *(("status", word) for word in status)]
        asked += [("model", model)] if model else []
        asked += [("open", "true")] if only_open else []
        found = self._transport.get(f"/v1/rollouts?{urlencode(asked)}")
        return Table(map(RolloutSummary.read, found["rollouts"]))

    def telemetry(
        self, model: str, *, every: str = "hour", by: str = "fleet", since: float = 0.0, until: float = 0.0
    ) -> Table[TelemetryRow]:
        """Returns the measurements of a model on devices, by time; `since` and `until` in seconds since 1970, 0:
        the newest day.
        """
        asked = f"every={every}&by={by}&since={since}&until={until}"
        return Table(map(TelemetryRow.read, self._transport.get(f"/v1/models/{model}/telemetry?{asked}")))

    def create_token(
        self,
        name: str,
        roles: Sequence[str],
        days: float,
        *,
        labels: Mapping[str, str] | None = None,
        models: Sequence[str] = (),
    ) -> NewToken:
        """Makes a token for a person, who may act only on devices with these labels and on these models; its secret
        is returned only once.
        """
        scope = {"labels": dict(labels or {}), "models": list(models)}
        body = {"name": name, "roles": list(roles), "days": days, "scope": scope}
        return NewToken.read(self._transport.post("/v1/tokens", body))

    def tokens(self) -> Table[Token]:
        """Every token, without its secret."""
        return Table(map(Token.read, self._transport.get("/v1/tokens")))

    def revoke_token(self, identifier: str) -> None:
        """Ends a token."""
        self._transport.post(f"/v1/tokens/{identifier}/revoke")

    def audit_entries(
        self,
        *,
        since: datetime | str = "",
        until: datetime | str = "",
        actor: str = "",
        action: str = "",
        subject: str = "",
        before: int = 0,
        limit: int | None = 100,
    ) -> Table[AuditEntry]:
        """Returns the newest entries of the audit, newest first; `limit` None: all of them.

        Dates are datetimes with a zone, or texts in ISO 8601; entries at `until` are left out. `actor` is the whole
        name (`controller` for its own actions), `action` the beginning of the action, `subject` a part of the
        subject. With `before` only entries of lower numbers: many may have the same time.
        """
        asked = {"since": _text_of(since), "until": _text_of(until), "actor": actor, "action": action}
        asked["subject"] = subject
        found: list[AuditEntry] = []
        while limit is None or len(found) < limit:
            page = AUDIT_PAGE if limit is None else min(AUDIT_PAGE, limit - len(found))
            before = found[-1].number if found else before
            query = urlencode({name: text for name, text in asked.items() if text} | {"limit": page, "before": before})
            came = [AuditEntry.read(each) for each in self._transport.get(f"/v1/audit?{query}")]
            found += came
            if len(came) < page:
                break
        return Table(found)

    def audit(self) -> AuditExport:
        """Returns the whole audit, with the checkpoints that are kept elsewhere."""
        return AuditExport.read(self._transport.get("/v1/audit/export"))

    def certificates(self, subject: str = "svc.") -> Table[Certificate]:
        """Returns certificates of a device, newest first; "svc.": those of the controller's services, "": the newest of
        all.
        """
        return Table(map(Certificate.read, self._transport.get(f"/v1/certificates?subject={quote(subject)}")))

    def expiring_certificates(self, within_days: int = 30) -> Table[Certificate]:
        """Returns valid certificates that expire so soon, of devices and services with no newer one; earliest end
        first.
        """
        return Table(map(Certificate.read, self._transport.get(f"/v1/certificates?within_days={within_days}")))

    def revoke_certificate(self, serial: str) -> Certificate:
        """Revokes one certificate; a service of the controller gets a new one at once."""
        return Certificate.read(self._transport.post(f"/v1/certificates/{serial}/revoke"))

    def attestation(self) -> Attestation:
        """Returns the fleet's statement about golden sets, which `edgeward attest verify` checks offline."""
        pages: list[AttestationPage] = []
        after = ""
        while after or not pages:
            pages.append(read(self._transport.get(f"/v1/attestation?after={quote(after, safe='')}"), AttestationPage))
            after = msgspec.json.decode(pages[-1].statement, type=Statement).next
        return Attestation(pages=tuple(pages))

    def authorities(self) -> Table[Authority]:
        """Returns the authorities of devices and the broker, oldest first."""
        return Table(map(Authority.read, self._transport.get("/v1/authorities")))

    def add_authority(self) -> Table[Authority]:
        """Makes one more authority, which issues from now on."""
        return Table(map(Authority.read, self._transport.post("/v1/authorities")))

    def retire_authority(self, name: str, *, force: bool = False) -> Table[Authority]:
        """Ends trust in an authority; with `force` even if devices have no other certificate, and then
        need new claims.
        """
        return Table(map(Authority.read, self._transport.post(f"/v1/authorities/{name}/retire", {"force": force})))

    def trust(self) -> Trust:
        """Returns roles, every signed document, and documents that wait for a signature."""
        return Trust.read(self._transport.get("/v1/trust"))

    def proposal(self, model: str) -> RoleProposal:
        """Returns the versions that the release signer of a model must sign."""
        return RoleProposal.read(self._transport.get(f"/v1/models/{model}/proposal"))

    def offer_metadata(self, files: dict[str, str]) -> list[str]:
        """Sends documents that were signed here; returns the names of new ones."""
        return list(self._transport.put("/v1/trust", {"files": files})["taken"])

    def rotate(self, role: str) -> PublicKey:
        """Replaces the key of a role in a fleet whose keys are on the controller; returns the new one's public half.

        BadInput `signature_invalid` if offline keys must sign: `edgeward trust rotate ROLE --keys DIRECTORY`.
        """
        return PublicKey.read(self._transport.post("/v1/trust/rotate", {"role": role}))

    def make_online_key(self, role: str) -> PublicKey:
        """Makes a new key of the controller; returns its public half."""
        return PublicKey.read(self._transport.post("/v1/trust/keys", {"role": role}))


def _text_of(moment: datetime | str) -> str:
    return moment.isoformat() if isinstance(moment, datetime) else moment
