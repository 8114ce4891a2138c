"""Connects sensors, models and sinks as the configuration says, with a thread for each sensor.

Decides nothing about rows. Refuses to know updates: the version that a slot serves answers.
"""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from agent.adapters.sensors.sinks import SinkThread
from agent.adapters.sensors.streams import Place, TopicQueue, from_stdin, replay
from agent.adapters.sensors.supervisor import tend
from agent.config import Config, ImagesSensor, ReplaySensor, Sensor, SerialSensor, SoundSensor, StdinSensor, TopicSensor
from agent.ports import Link, Lives, Sample
from agent.serving.lives import SensorLife
from agent.serving.pipeline import run_pipeline
from agent.serving.slot import ModelSlot
from contract.errors import BadInput


class Pipelines:
    """All sensors of a device. `slot` returns the slot of a model by its name."""

    def __init__(
        self, config: Config, beside: Path, *, link: Link, dropped: Counter[str], slot: Callable[[str], ModelSlot]
    ) -> None:
        self._beside = beside
        self._link = link
        self._dropped = dropped
        self._stop = threading.Event()
        self._topics: dict[str, list[TopicQueue]] = {}
        """Two sensors of one topic each get every message of it."""
        self._sinks: list[SinkThread] = []
        self._removed = {capture.model: capture.remove for capture in config.capture}
        self._lives: list[SensorLife] = []
        self.paused: frozenset[str] = frozenset()
        """The names of paused sensors, whose rows are dropped. Other threads replace the set and never modify it."""
        for number, sensor in enumerate(config.sensor, 1):
            kind = str(type(sensor).__struct_config__.tag)
            life = SensorLife(f"{kind}-{number}", kind, sensor.model)
            self._lives.append(life)
            arguments = (life, self._source(sensor), slot(sensor.model), self._sink(sensor, number))
            threading.Thread(target=self._run, args=arguments, name=f"sensor-{life.name}", daemon=True).start()

    def lives(self) -> Lives:
        """Returns what every sensor and sink has done, from any thread."""
        now = time.perf_counter()
        return tuple(life.told(now) for life in self._lives), tuple(sink.life.told(now) for sink in self._sinks)

    def subscribe(self) -> None:
        """Subscribes to the topics from which rows come."""
        if self._topics:
            self._link.subscribe(sorted(self._topics))

    def take(self, topic: str, payload: bytes) -> bool:
        """Gives a message on a topic to each of its sensors. Returns whether the topic belongs to a sensor."""
        queues = self._topics.get(topic, ())
        for queue in queues:
            queue.put(payload)
        return bool(queues)

    def close(self) -> None:
        """Ends the sensors. Predictions that wait for a sink are sent once more."""
        self._stop.set()
        for sink in self._sinks:
            sink.close()
        for waiting in itertools.chain.from_iterable(self._topics.values()):
            waiting.put(None)

    def _source(self, sensor: Sensor) -> Callable[[], Iterable[Sample | BadInput]]:
        """Returns a function that opens the sensor's source; a later call continues where the earlier call ended."""
        beside, wait = self._beside, self._stop.wait
        match sensor:
            case ReplaySensor():
                return self._rows_of_file(sensor)
            case StdinSensor():
                return lambda: from_stdin(sensor)
            case SerialSensor():
                from agent.adapters.sensors.serial_port import from_serial  # few devices have one

                return lambda: from_serial(sensor, beside, wait, self._line_cut)
            case ImagesSensor():
                from agent.adapters.sensors.image_files import Seen, from_images  # few devices have a camera

                seen = Seen()
                return lambda: from_images(sensor, beside, wait, seen)
            case SoundSensor():
                from agent.adapters.sensors.sound import Heard, from_sound  # few devices have a microphone

                heard = Heard()
                return lambda: from_sound(sensor, beside, wait, heard)
            case TopicSensor():
                queue = TopicQueue(sensor, self._dropped)
                self._topics.setdefault(sensor.topic, []).append(queue)
                return lambda: queue

    def _rows_of_file(self, sensor: ReplaySensor) -> Callable[[], Iterable[Sample | BadInput]]:
        beside, wait = self._beside, self._stop.wait
        if sensor.follow:
            from agent.adapters.sensors.followed import Followed, follow  # few devices read logs

            followed = Followed()
            return lambda: follow(sensor, beside, wait, followed)
        place = Place()
        return lambda: replay(sensor, beside, wait, place)

    def _line_cut(self) -> None:
        self._dropped["lines_cut"] += 1

    def _sink(self, sensor: Sensor, number: int) -> SinkThread | None:
        """Starts a sensor's sink. Its lines omit the columns that must not leave the device in captured rows."""
        if sensor.sink is None:
            return None
        removed = self._removed.get(sensor.model, ())
        named = not isinstance(sensor, ImagesSensor | SoundSensor) and sensor.key not in removed
        made = SinkThread(
            sensor.sink, self._beside, self._link, self._dropped, number=number, removed=removed, with_key=named
        )
        self._sinks.append(made)
        return self._sinks[-1]

    def _run(
        self,
        life: SensorLife,
        open_rows: Callable[[], Iterable[Sample | BadInput]],
        slot: ModelSlot,
        sink: SinkThread | None,
    ) -> None:
        put = sink.put if sink is not None else None
        tend(
            life,
            open_rows,
            lambda rows: run_pipeline(self._heeded(rows, life), slot, self._dropped, put, life),
            self._stop.wait,
        )

    def _heeded(self, rows: Iterable[Sample | BadInput], life: SensorLife) -> Iterator[Sample | BadInput]:
        """Yields rows while the sensor is not paused. A paused source is still read: the rows that it buffers would be
        old.
        """
        for row in rows:
            if life.name in self.paused:
                life.state = "paused"
                self._dropped["rows_paused"] += 1
                continue
            if life.state == "paused":
                life.state = "running"
            yield row
