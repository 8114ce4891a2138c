"""A world of one device, for scripts that publish directly: power cuts, bad input."""

from firmware_sim.clock import Clock, stream
from firmware_sim.device import Device, Moment
from firmware_sim.flash import Flash
from firmware_sim.fleet_keys import FIRST
from firmware_sim.models import SimModel
from firmware_sim.network import Conditions, Network, SimLink

NAME = "device-1"
_QUIET = Conditions(latency_s=0.02, reconnect_s=0.2)


class Broker:
    """The retained messages, and the messages of devices. It can be used in several worlds, so it outlives a device."""

    def __init__(self) -> None:
        self.retained: dict[str, bytes] = {}
        self.published: list[tuple[str, bytes]] = []

    def retain(self, topic: str, payload: bytes) -> None:
        """Keeps a message without delivering it to links that are subscribed already."""
        self.retained[topic] = payload


class Solo:
    """One device and a broker."""

    def __init__(self, flash: Flash, broker: Broker, models: tuple[SimModel, ...]) -> None:
        self.flash = flash
        self.files = dict(FIRST)
        """The fleet's newest signed metadata."""
        self.broker = broker
        self.clock = Clock()
        self._network = Network(self.clock, _QUIET)
        self._network.retained = broker.retained
        self._network.to_controller = lambda topic, payload: broker.published.append((topic, payload))
        self.link = SimLink(self._network, NAME, stream(1, "link"))
        self.device = Device(NAME, self.clock, flash=flash, link=self.link, models=models)
        self.clock.at(0.0, self.device.boot)

    @property
    def now(self) -> float:
        """The virtual time in seconds."""
        return self.clock.now

    @property
    def history(self) -> list[Moment]:
        """The moments of the device: what it served, and its records."""
        return self.device.history

    def offer(self, topic: str, payload: bytes) -> None:
        """Publishes a retained message, as the controller does. An empty one is delivered as well."""
        self._network.publish(topic, payload, retain=True)

    def run(self, until: float) -> None:
        """Runs the world until this virtual time in seconds."""
        self.clock.run(until)
