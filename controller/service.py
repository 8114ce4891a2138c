"""The life cycle of the controller: start broker and connections, run pass after pass, and stop everything again.

Decides when passes run and what is published after a reconnect. The order within a pass is `reconcile.one_pass`.
"""

import asyncio
import inspect
import logging
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from contract import topics
from contract.errors import Code, EdgewardError
from contract.messages import Ack, Report
from contract.wire import encode
from controller.background import Background
from controller.broker.link import ControllerLink
from controller.broker.messages import farewell
from controller.broker.process import start_broker
from controller.broker.retained import RetainedState
from controller.broker.sentinels import Sentinels
from controller.clock import today
from controller.events.notifier import Notifier
from controller.events.traces import Traces, trace_of
from controller.events.webhooks import Webhooks
from controller.health import STEPS, Finding
from controller.reconcile.deeds import Deed
from controller.reconcile.measured import open_marks
from controller.reconcile.one_pass import Passes
from controller.reconcile.roster import fresh_roster
from controller.reconcile.series import VerdictPoint
from controller.rollout.model import FINAL, Rollout
from controller.state import State
from controller.telemetry.counts import Counted
from controller.verbs import (
    alerts,
    audit,
    certificates,
    data_sets,
    devices,
    drift,
    erasures,
    policies,
    retraining,
    traces,
    watcher,
)
from controller.verbs.health import tell_changes
from controller.verbs.push import finish_interrupted

MAX_ERROR_CHARS = 300
"""Characters of a fault's words that are shown: the log has all of them."""
TEND_S = 1.0
"""Seconds between two checks of a started broker."""
UNFETCHED = frozenset({Code.TRANSFER_STALLED, Code.CHUNK_INVALID, Code.DIGEST_MISMATCH})
"""What a device reports if the broker holds no complete blob for it."""
HANGING_S = 30.0
"""Seconds after which the watching task also judges alerts, because the pass hangs."""
HEALTH_S = 5.0
"""Seconds between two checks of the controller's health. With the limits of `controller.health` a fault is reported in
60 s."""
DATA_LOOK_S = 3600.0
"""Seconds between two looks at the data of models on devices: shapes are kept by the hour, and a look takes seconds per
model."""

Step = Callable[[], object]
"""One step after a pass; what it returns is awaited if it can be."""

_log = logging.getLogger("edgeward.controller")


class Service:
    """One running controller. `start` and `stop` begin and end its life in an event loop."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._sentinels = Sentinels()
        self._retained = RetainedState(
            state.world.durable,
            state.publisher,
            state.records,
            state.skipped,
            state.foreign,
            lost=self._sentinels.lost,
            lent=state.lent,
        )
        events, kept = state.config.events, state.alerts
        secret = Path(events.secret_file).expanduser() if events.secret_file else None
        self._webhooks = Webhooks(events.webhooks, state.events, secret)
        self._traces = Traces(state.config.traces)
        state.events.trace_of = lambda rollout: trace_of(state.config.traces, rollout)
        beside = Path(kept.source).parent if kept.source else state.config.data_dir
        self._notifier = Notifier(kept.file.receiver, beside, kept.records.put_delivered)
        state.event_fares, state.notifier = self._webhooks.fares, self._notifier
        self._passes = Passes(state.world, state.records, history=_History(state), broker=self, listener=self)
        self._looks, self._data_looks, self._watcher_looks = Background(), Background(), Background()
        self._tasks: list[asyncio.Task[None]] = []
        self._findings: tuple[Finding, ...] = ()

    async def start(self) -> None:
        """Starts or finds the broker, connects, and begins to reconcile."""
        state = self._state
        audit.begin(state)
        await erasures.resume(state)
        for name in finish_interrupted(state):
            _log.warning("%s was registered when this controller was killed: its push is finished now", name)
        state.broker = start_broker(state.config.broker, state.config.data_dir / "broker", (state.enrolment, today()))
        self._connect()
        self._webhooks.start()
        self._notifier.start()
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._watch())]
        _log.info("%s broker at %s", state.broker.kind, state.broker.shown)

    def _connect(self) -> None:
        """Makes the connections to the broker, with the certificates that count now."""
        broker = self._state.broker
        assert broker is not None
        self._state.linked_by = broker.files.service_serials() if broker.files is not None else ()
        watched = topics.RETAINED_FILTERS if broker.kind != "embedded" else ()
        kinds = (topics.UP_REPORT, topics.UP_HEARTBEAT, topics.UP_PRESENCE, topics.UP_CAPTURED, topics.UP_ANSWERED)
        reports = self._link("svc.controller", [topics.up_filter(kind) for kind in kinds], watched, self._connected)
        telemetry = self._link("svc.telemetry", [topics.up_filter(topics.UP_TELEMETRY)], (), lambda: None)
        self._state.links = (reports, telemetry)
        self._retained.link = self._sentinels.link = reports
        for link in self._state.links:
            link.start()

    async def _connect_anew(self) -> None:
        """Replaces the connections. Devices repeat messages from that time, because they are not acknowledged."""
        for link in self._state.links:
            await asyncio.to_thread(link.stop)
        self._connect()
        _log.info("connected anew with renewed certificates")

    async def stop(self) -> None:
        """Ends everything that `start` began, and closes the state."""
        state = self._state
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._webhooks.stop()
        await self._traces.stop()
        await self._looks.stop()
        await self._data_looks.stop()
        await self._watcher_looks.stop()
        await self._notifier.stop()
        await state.deliveries.stop()
        if state.bucket is not None:
            await state.bucket.stop()
        for link in state.links:
            link.stop()
        if state.broker is not None:
            await asyncio.to_thread(state.broker.stop)
        state.close()

    async def one_pass(self) -> None:
        """Renews trust metadata, runs a pass, and starts rollouts that policies require."""
        state = self._state
        state.trust_changed |= state.trust_metadata.refresh(today())
        await self._passes.run(state.inbox, time.time())
        for step, work in zip(STEPS, self._steps(), strict=True):
            await self._try(step, work)

    def _steps(self) -> tuple[Step, ...]:
        """What follows a pass, in the order of `STEPS`."""
        state = self._state
        return (
            lambda: fresh_roster(state.world, time.time()),
            self._answer,
            lambda: state.telemetry.tend(time.time(), open_marks(state.world)),
            lambda: state.vitals.tend(time.time()),
            lambda: policies.start_due(state),
            lambda: erasures.follow(state),
            lambda: data_sets.keep_retention(state),
            lambda: retraining.look(state, time.time()),
            lambda: devices.keep_revocations_young(state),
            self._keep_certificates_young,
        )

    async def _try(self, step: str, work: Step) -> None:
        """Does one step. One that fails is counted and told in health; the others and the next pass go on."""
        try:
            if inspect.isawaitable(ending := work()):
                await ending
            self._state.steps.went_well(step)
        except Exception as error:  # one bad row or message must not stop what keeps the fleet
            words = str(error) if isinstance(error, EdgewardError) else f"{type(error).__name__}: {error}"
            if self._state.steps.failed(step, time.monotonic(), words[:MAX_ERROR_CHARS]):
                _log.exception("the step %s failed and is tried again after each pass", step)

    async def _keep_certificates_young(self) -> None:
        if await certificates.keep_young(self._state):
            await self._connect_anew()

    def _answer(self) -> None:
        """Sends devices messages: that they left the fleet, that their key is not valid, or how telemetry may be
        signed.
        """
        inbox = self._state.inbox
        names, inbox.retired_heard = inbox.retired_heard, set()
        answers, inbox.unheard = [*inbox.unheard.items(), *inbox.agreements.items()], {}
        inbox.agreements = {}
        if not self._state.connected:
            return
        for name in sorted(names):
            self._state.links[0].retain(farewell(name))
        for device, answer in answers:
            self.acknowledge(device, answer)

    async def publish(self, devices: frozenset[str], *, again: bool) -> bool:
        """Publishes as in `reconcile.ports.Broker`; after a reconnect everything, because the broker may have lost
        messages.
        """
        state = self._state
        if not state.connected:
            self._retained.restore_needed = True
            return False
        await self._retained.publish(devices, again=again, trust_changed=state.trust_changed)
        state.trust_changed = False
        audit.tell_new_root(state)
        return True

    def acknowledge(self, device: str, ack: Ack) -> None:
        """Acknowledges as in `reconcile.ports.Broker`."""
        self._state.links[0].publish(topics.ack(device), encode(ack), retain=False)

    def saved(self, rollouts: Sequence[Rollout]) -> None:
        """Makes events for rollouts that a pass has changed."""
        self._state.events.saw(rollouts)
        for rollout in rollouts:
            if rollout.status in FINAL and (trace_id := trace_of(self._state.config.traces, rollout)):
                self._traces.send(trace_id, traces.trace_spans(self._state, rollout, time.time()))
            reason, waves = f" ({rollout.reason})" if rollout.reason else "", len(rollout.strategy.waves)
            _log.info("rollout %s: %s, wave %d of %d%s", rollout.id, rollout.status, rollout.wave + 1, waves, reason)

    def judged(self, points: Sequence[VerdictPoint]) -> None:
        """Makes events for verdicts that have changed."""
        for point in points:
            self._state.events.tell_verdict(point)

    def reported(self, reports: Sequence[tuple[str, Report]]) -> None:
        """Makes events for devices that have their own faults or answer wrongly, and repairs blobs that they cannot
        fetch.
        """
        for device, report in reports:
            state = report.state
            if state is not None and state.code in UNFETCHED:
                self._retained.doubt(device, state.model)
            if state is not None and state.code == Code.DEVICE_SICK:
                self._state.events.tell_sick(device, state.model, state.detail)
                _log.warning("device %s: %s: %s %s", device, state.model, state.code, state.detail)
            if state is not None and state.code == Code.GOLDEN_MISMATCH:
                self._state.events.tell_golden(device, state)
                _log.warning("device %s: %s: %s %s", device, state.model, state.code, state.detail)

    def _link(
        self, name: str, filters: list[str], watched: Sequence[str], connected: Callable[[], None]
    ) -> ControllerLink:
        broker, config = self._state.broker, self._state.config.broker
        assert broker is not None
        files = broker.files
        return ControllerLink(
            f"{name}-{platform.node()}"[:60],
            broker.url if files is None else f"mqtts://{files.host}:{broker.port}",
            config if files is None else files.client(config, name),
            filters,
            watched=watched,
            loop=asyncio.get_running_loop(),
            on_message=self._message,
            on_connected=connected,
        )

    def _connected(self) -> None:
        self._retained.restore_needed = True
        self._state.poke()

    def _message(self, topic: str, payload: bytes, retained: bool) -> None:
        if self._sentinels.saw(topic, payload) or self._retained.saw(topic, payload, retained=retained):
            return
        self._state.inbox.put(topic, payload)

    async def _run(self) -> None:
        wake = self._state.wake
        while True:
            await self._pass_and_note()
            wake.clear()
            try:
                await asyncio.wait_for(wake.wait(), self._state.config.fleet.reconcile_s)
            except TimeoutError:
                continue

    async def _pass_and_note(self) -> None:
        passes, began = self._state.passes, time.monotonic()
        try:
            await self.one_pass()
            passes.passed(time.monotonic(), time.monotonic() - began)
        except EdgewardError as error:
            passes.failed(time.monotonic(), str(error))
            _log.error("pass failed, trying again: %s", error)
        except Exception as error:  # one failed pass must not end the controller
            passes.failed(time.monotonic(), f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS])
            _log.exception("pass failed, trying again")
        self._look_at_alerts()

    def _look_at_alerts(self) -> None:
        """Begins to judge the rules of alerts, also after a failed pass, because some of them are about that."""
        if not self._looks.tasks:
            self._looks.begin(self._judge_alerts())

    async def _judge_alerts(self) -> None:
        try:
            await alerts.look_again(self._state, self._notifier)
        except Exception:  # alerts must not end the passes
            _log.exception("alerts could not be judged, trying again")

    async def _watch(self) -> None:
        """Restarts a started broker, repairs retained messages of others, and reports faults, also while a pass
        hangs.
        """
        broker, judge_at, data_look_at = self._state.broker, 0.0, 0.0
        while True:
            await asyncio.sleep(min(TEND_S, HEALTH_S))
            try:
                changed = broker is not None and await asyncio.to_thread(broker.tend, time.monotonic())
                if changed and broker is not None:
                    audit.tell_broker(self._state, broker.kind, broker.fault)
                if self._state.connected and self._retained.put_right():
                    self._retained.restore_needed = True
                    self._state.poke()
                if time.monotonic() >= self._state.alerts.next_look + HANGING_S:
                    self._look_at_alerts()  # a pass hangs; this task still runs
                if time.monotonic() >= data_look_at and not self._data_looks.tasks:
                    data_look_at = time.monotonic() + DATA_LOOK_S
                    self._data_looks.begin(drift.look_at_all(self._state, time.time()))
                if changed or time.monotonic() >= judge_at:
                    if not self._watcher_looks.tasks and watcher.is_due(self._state, time.time()):
                        self._watcher_looks.begin(watcher.look(self._state, time.time()))
                    self._findings = tell_changes(self._state, self._findings)
                    judge_at = time.monotonic() + HEALTH_S
            except Exception:  # a fault of the watch must not end it
                _log.exception("health could not be judged")


class _History:
    """The history of devices and controller, in the journal and in the store of captured inferences."""

    def __init__(self, state: State) -> None:
        self.record = state.journal.record
        self._state = state
        self.keep_captured = state.captures.keep
        self.keep_vitals = state.vitals.keep

    def keep_measured(self, measured: Sequence[Counted], verdicts: Sequence[VerdictPoint]) -> None:
        """Stores as in `reconcile.ports.History`."""
        store = self._state.telemetry
        store.keep(measured)
        store.keep_verdicts(
            (each.rollout, each.at, each.verdict.rule, each.verdict.stratum, msgspec.json.encode(each.verdict))
            for each in verdicts
        )

    def audit(self, deeds: Sequence[Deed]) -> None:
        """Stores as in `reconcile.ports.History`."""
        audit.note(self._state, *deeds)
