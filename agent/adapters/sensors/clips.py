"""Clips of sound: takes 16-bit samples, returns overlapping parts as float32 from -1 to 1, all channels mixed to one.

Decides where a clip begins, and keeps half a sample or half a clip for what comes next. Refuses to know where sound
comes from.
"""

from collections.abc import Iterator

import numpy as np

from agent.config import SoundSensor
from agent.ports import Array

BYTES_A_SAMPLE = 2
FULL_SCALE = 32768.0
"""The number that becomes -1: signed 16-bit samples reach from -32768 to 32767."""


def samples_of(config: SoundSensor) -> tuple[int, int]:
    """Returns the lengths of a clip and of the step to the next, in samples; both at least 1."""
    hop_s = config.hop_s or config.clip_s
    return max(1, round(config.clip_s * config.rate_hz)), max(1, round(hop_s * config.rate_hz))


class Clips:
    """The clips of one sound. `clip` and `hop` are samples; each frame holds one sample for each of the `channels`."""

    def __init__(self, clip: int, hop: int, channels: int) -> None:
        self._clip = clip
        self._hop = hop
        self._channels = channels
        self._half = b""
        self._waiting: Array = np.zeros(0, dtype=np.float32)
        self._begins = 0
        """The place of the first waiting sample in the sound."""
        self._next = 0
        """The place at which the next clip begins."""

    def cut(self, raw: bytes) -> Iterator[tuple[int, Array]]:
        """Yields (its beginning, a clip: float32 of shape (clip,)) for each clip that these bytes complete."""
        self._waiting = np.concatenate([self._waiting, self._mixed(raw)])
        while self._begins + len(self._waiting) >= self._next + self._clip:
            at = self._next - self._begins
            yield self._next, self._waiting[at : at + self._clip].copy()
            self._next += self._hop
        gone = min(self._next - self._begins, len(self._waiting))
        self._waiting, self._begins = self._waiting[gone:], self._begins + gone

    def _mixed(self, raw: bytes) -> Array:
        """Returns whole frames as float32 of shape (frames,), the mean of their channels."""
        raw = self._half + raw
        size = BYTES_A_SAMPLE * self._channels
        whole = len(raw) // size * size
        self._half = raw[whole:]
        frames = np.frombuffer(raw, dtype="<i2", count=whole // BYTES_A_SAMPLE).reshape(-1, self._channels)
        mixed: Array = frames.mean(axis=1, dtype=np.float32) / np.float32(FULL_SCALE)
        return mixed
