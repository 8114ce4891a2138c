"""Clips of sound as rows: of a WAV file, of each file that appears in a directory, or of a pipe of 16-bit samples.

Decides which sound is new. Refuses a sound of another rate or width with both figures: the model was not judged on
resampled sound. Each sound is a stream with its own key, so that no state of one is used for the next. Refuses to
know which model answers.
"""

import os
import select
import stat
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from agent.adapters.sensors.clips import BYTES_A_SAMPLE, Clips, samples_of
from agent.config import SoundSensor
from agent.ports import Sample
from contract.errors import BadInput, Code

KINDS = frozenset({".wav", ".wave"})
READ_FRAMES = 16 * 1024
"""Samples of a file that are read at once: a second or less, so that an hour of sound takes no more memory."""
READ_BYTES = 64 * 1024
"""The bytes read from a pipe at once: the size of a pipe in Linux by default."""
WAIT_S = 0.2
"""Seconds between two checks of a pipe without a writer."""

Row = Sample | BadInput
Identity = tuple[str, int, int]


@dataclass
class Heard:
    """Sounds that were read, or existed at the start: a source that is opened again reads none twice."""

    files: frozenset[Identity] | None = None
    """None before the first check. By name, inode and time of change: a file that replaces another one is new."""
    sounds: int = 0
    """Sounds that have begun; the number is part of a sound's key."""
    growing: dict[Identity, int] = field(default_factory=dict)

    def key(self, name: str) -> str:
        """Returns the key of the next sound."""
        self.sounds += 1
        return f"{name}#{self.sounds}"


def from_sound(
    config: SoundSensor, beside: Path, wait: Callable[[float], bool], heard: Heard | None = None
) -> Iterator[Row]:
    """Yields a sample for each clip until `wait(seconds)`, which pauses, returns True, or the only file ends. For a
    sound that the sensor does not accept, yields the error. OSError if the path does not exist.
    """
    path, heard = beside.parent / config.path, heard or Heard()
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        yield from _directory(path, config, wait, heard)
    elif stat.S_ISREG(mode):
        yield from _file(path, config, heard, wait)
    else:
        yield from _pipe(path, config, heard, wait)


def _directory(path: Path, config: SoundSensor, wait: Callable[[float], bool], heard: Heard) -> Iterator[Row]:
    if heard.files is None:
        heard.files = frozenset() if config.existing else frozenset(_listed(path))
    while not wait(config.look_s):
        listed = _listed(path)
        for identity in sorted(listed.keys() - heard.files):
            if heard.growing.get(identity) == listed[identity]:
                heard.files |= {identity}
                yield from _file(path / identity[0], config, heard, wait)
        heard.growing = listed
        heard.files &= listed.keys()


def _listed(directory: Path) -> dict[Identity, int]:
    """Returns the files with their sizes in bytes. Skips those that are deleted at this moment."""
    found = {}
    for path in directory.iterdir():
        if path.suffix.lower() in KINDS:
            try:
                about = path.stat()
            except FileNotFoundError:
                continue
            found[path.name, about.st_ino, about.st_mtime_ns] = about.st_size
    return found


def _file(path: Path, config: SoundSensor, heard: Heard, wait: Callable[[float], bool]) -> Iterator[Row]:
    """Yields the clips of one WAV file, or the reason why there are none."""
    try:
        with path.open("rb") as file, wave.open(file) as sound:
            if (words := _unfit(sound, config)) is not None:
                yield BadInput(Code.SAMPLE_INVALID, f"{path.name}: {words}")
                return
            clips, key = Clips(*samples_of(config), sound.getnchannels()), heard.key(path.name)
            while (raw := sound.readframes(READ_FRAMES)) and not wait(0.0):
                yield from _samples(clips, raw, config, key=key, file=path.name)
    except (wave.Error, EOFError) as error:
        yield BadInput(Code.SAMPLE_INVALID, f"{path.name}: no WAV file of whole numbers: {error}"[:200])


def _unfit(sound: wave.Wave_read, config: SoundSensor) -> str | None:
    """Why the model cannot take a sound, with both figures; None if it can."""
    if sound.getframerate() != config.rate_hz:
        return f"it has {sound.getframerate()} samples a second, the sensor says rate_hz = {config.rate_hz}"
    if sound.getsampwidth() != BYTES_A_SAMPLE:
        return f"it has {8 * sound.getsampwidth()} bits a sample, 16 are taken"
    return None


def _pipe(path: Path, config: SoundSensor, heard: Heard, wait: Callable[[float], bool]) -> Iterator[Row]:
    """Yields the clips of samples that are written into a pipe: 16 bits, little-endian. A new writer begins a new
    sound. OSError once the path names another file.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as pipe:  # noqa: PTH123 - a descriptor
        identity, clips, key = os.fstat(pipe.fileno()).st_ino, None, ""
        while not wait(0.0):
            raw = _came(pipe)
            if raw:
                if clips is None:
                    clips, key = Clips(*samples_of(config), config.channels), heard.key(path.name)
                yield from _samples(clips, raw, config, key=key)
                continue
            if raw == b"":  # no program has the other end open any more
                clips = None
                if wait(WAIT_S):
                    return
            if path.stat().st_ino != identity:
                raise OSError(f"{path.name} is another pipe now")


def _came(pipe: BinaryIO) -> bytes | None:
    """Returns the bytes that were written; b"" without a writer, None if a writer sent nothing for a while."""
    if not select.select([pipe], [], [], WAIT_S)[0]:
        return None
    raw: bytes | None = pipe.read(READ_BYTES)
    return raw


def _samples(clips: Clips, raw: bytes, config: SoundSensor, *, key: str, file: str = "") -> Iterator[Sample]:
    for offset, clip in clips.cut(raw):
        values: dict[str, Any] = {config.input: clip}
        if config.rate_input:
            values[config.rate_input] = config.rate_hz
        yield Sample(values, None, key, file, offset / config.rate_hz)
