"""Tries remote configurations on this device: durable before applied, then confirmed or taken back as `core` decides.

Decides the order of saving and applying. Refuses to know what a field of a configuration does: `apply` does.
"""

import logging
from collections.abc import Callable
from typing import Literal

from agent.core import remote_config as core
from agent.core.remote_config import ConfigRecord
from agent.flash.store import Store
from contract.errors import Code, EdgewardError, WorldError
from contract.messages import ConfigState
from contract.remote_config import RemoteConfig

Cadence = Literal["heartbeat_s", "telemetry_s"]
LOOK_S = 1.0
"""Seconds between two checks of a trial."""

_log = logging.getLogger("edgeward.agent")


class Tuner:
    """The remote configuration of one device. `now` is monotonic seconds.

    `apply` applies a configuration, None the device's own; BadInput if the device's own file does not allow it.
    `fault` returns in words what is broken now besides models; empty if nothing is. `serving` names the models that
    answer.
    """

    def __init__(
        self,
        store: Store,
        *,
        apply: Callable[[RemoteConfig | None], None],
        fault: Callable[[], str],
        serving: Callable[[], frozenset[str]],
    ) -> None:
        self._store = store
        self._apply = apply
        self._fault = fault
        self._serving = serving
        self._record = ConfigRecord()
        self._since = self._look_at = 0.0
        self._served: frozenset[str] = frozenset()
        self._broken_before = ""

    @property
    def state(self) -> ConfigState:
        """What the device reports about remote configurations."""
        return self._record.state

    def interval(self, name: Cadence) -> float | None:
        """Returns the interval that a remote configuration sets, in seconds; None: the device's own is used."""
        active = self._record.active
        value: float | None = getattr(active, name) if active is not None else None
        return value

    def boot(self, now: float) -> None:
        """Loads the durable record, and counts the boot of a trial. If the disk refuses the record, there is no
        trial.
        """
        kept = self._store.load_config()
        counted = core.booted(kept)
        if counted is not kept:
            try:
                self._store.save_config(counted)
            except WorldError as error:
                _log.error("the trial of a remote configuration cannot be counted, and waits: %s", error)
                counted = ConfigRecord(confirmed=kept.confirmed, refused=kept.refused)
        self._record = counted
        self._bring_to_bear(now, frozenset(), excused="")

    def desired(self, wanted: RemoteConfig, now: float) -> None:
        """Begins to try a configuration, unless it is known already. WorldError if the disk refuses the record;
        then nothing has changed.
        """
        begun = core.desired(self._record, wanted)
        if begun is self._record:
            return
        self._store.save_config(begun)
        self._record = begun
        _log.info("remote configuration %d is tried", wanted.version)
        self._bring_to_bear(now, self._serving(), excused=self._fault())

    def tick(self, offline_s: float, now: float) -> None:
        """Checks a trial, once a second. A model that served before the trial and does not serve now
        counts as broken.
        """
        if self._record.trial is None or now < self._look_at:
            return
        self._look_at = now + LOOK_S
        lost = sorted(self._served - self._serving())
        fault = f"{', '.join(lost)} no longer serves" if lost else self._new_fault()
        self._keep(core.judged(self._record, now - self._since, offline_s, fault), now)

    def wake_at(self) -> float:
        """Returns when `tick` is due; infinity without a trial."""
        return self._look_at if self._record.trial is not None else float("inf")

    def _new_fault(self) -> str:
        fault = self._fault()
        return "" if fault == self._broken_before else fault

    def _keep(self, record: ConfigRecord, now: float) -> None:
        before = self._record
        if record is before:
            return
        try:
            self._store.save_config(record)
        except WorldError as error:
            _log.error("a remote configuration stays on trial, since the disk takes no record: %s", error)
            return
        self._record = record
        if record.active != before.active:
            _log.error("remote configuration %d is taken back: %s %s", record.refused, record.code, record.detail)
            self._bring_to_bear(now, frozenset(), excused="")
        else:
            _log.info("remote configuration %d is confirmed", record.state.confirmed)

    def _bring_to_bear(self, now: float, serving: frozenset[str], *, excused: str) -> None:
        """Applies the configuration in force. A trial that cannot be applied is taken back.

        `serving`: models that answered before; `excused`: faults from before the trial, which do not count against
        it.
        """
        self._since, self._look_at, self._served, self._broken_before = now, now + LOOK_S, serving, excused
        try:
            self._apply(self._record.active)
        except Exception as error:  # any error: a configuration from outside must not end the agent
            code = error.code if isinstance(error, EdgewardError) else Code.CONFIG_TAKEN_BACK
            words = error.detail if isinstance(error, EdgewardError) else f"{type(error).__name__}: {error}"
            if self._record.trial is not None:
                self._keep(core.taken_back(self._record, code, words[:300]), now)
            else:
                _log.error("the confirmed remote configuration cannot be applied: %s", words)
                self._apply(None)
