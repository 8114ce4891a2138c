"""Connects sensors, models and sinks as the configuration says, with a thread for each sensor.

Decides nothing about rows. Refuses to know updates: the version that a slot serves answers.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from agent.adapters.sensors.sinks import SinkThread
from agent.adapters.sensors.streams import TopicQueue, from_stdin, replay
from agent.config import Config, ImagesSensor, ReplaySensor, Sensor, SerialSensor, Sink, StdinSensor, TopicSensor
from agent.ports import Link, Sample
from agent.serving.pipeline import run_pipeline
from agent.serving.slot import ModelSlot
from contract.errors import BadInput

_log = logging.getLogger("edgeward.agent")


class Pipelines:
    """All sensors of a device. `slot` returns the slot of a model by its name."""

    def __init__(
        self, config: Config, beside: Path, *, link: Link, dropped: Counter[str], slot: Callable[[str], ModelSlot]
    ) -> None:
        self._beside = beside
        self._link = link
        self._dropped = dropped
        self._stop = threading.Event()
        self._topics: dict[str, TopicQueue] = {}
        self._sinks: list[SinkThread] = []
        for number, sensor in enumerate(config.sensor):
            arguments = (self._rows(sensor), slot(sensor.model), self._sink(sensor.sink))
            threading.Thread(target=self._run, args=arguments, name=f"sensor-{number}", daemon=True).start()

    def subscribe(self) -> None:
        """Subscribes to the topics from which rows come."""
        if self._topics:
            self._link.subscribe(sorted(self._topics))

    def take(self, topic: str, payload: bytes) -> bool:
        """Gives a message on a sensor's topic to that sensor. Returns whether the topic belongs to a sensor."""
        queue = self._topics.get(topic)
        if queue is not None:
            queue.put(payload)
        return queue is not None

    def close(self) -> None:
        """Ends the sensors. Predictions that wait for a sink are sent once more."""
        self._stop.set()
        for sink in self._sinks:
            sink.close()
        for waiting in self._topics.values():
            waiting.put(None)

    def _rows(self, sensor: Sensor) -> Iterable[Sample | BadInput]:
        match sensor:
            case ReplaySensor():
                return replay(sensor, self._beside, self._stop.wait)
            case StdinSensor():
                return from_stdin(sensor)
            case SerialSensor():
                from agent.adapters.sensors.serial_port import from_serial  # few devices have one

                return from_serial(sensor, self._beside, self._stop.wait)
            case ImagesSensor():
                from agent.adapters.sensors.image_files import from_images  # few devices have a camera

                return from_images(sensor, self._beside, self._stop.wait)
            case TopicSensor():
                return self._topics.setdefault(sensor.topic, TopicQueue(sensor, self._dropped))

    def _sink(self, config: Sink | None) -> SinkThread | None:
        if config is None:
            return None
        self._sinks.append(SinkThread(config, self._beside, self._link, self._dropped))
        return self._sinks[-1]

    def _run(self, rows: Iterable[Sample | BadInput], slot: ModelSlot, sink: SinkThread | None) -> None:
        try:
            run_pipeline(rows, slot, self._dropped, sink.put if sink is not None else None)
            _log.info("the sensor of %s has ended", slot.model)
        except BadInput as error:
            _log.error("the sensor of %s: %s", slot.model, error)
        except Exception:  # a sensor that breaks must not end the agent
            _log.exception("the sensor of %s broke", slot.model)
