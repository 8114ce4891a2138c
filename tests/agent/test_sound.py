"""Sound becomes clips: at the right places, with values from -1 to 1, and each sound has its own stream."""

import json
import os
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.adapters.sensors.clips import Clips
from agent.adapters.sensors.sound import Heard, from_sound
from agent.config import Config, Device, SoundSensor, load_config
from agent.ports import Sample
from agent.serving.outbox import line_of
from agent.serving.slot import Prediction
from contract.errors import BadInput
from tests.agent.live_sensors import Sensors, shorten_pauses, until

RATE = 1000


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch)


def write(path: Path, frames: Any, *, rate: int = RATE, width: int = 2) -> Path:
    """A WAV file of whole numbers, (frames,) or (frames, channels)."""
    array = np.asarray(frames)
    with wave.open(str(path), "wb") as sound:
        sound.setparams((array.shape[1] if array.ndim > 1 else 1, width, rate, 0, "NONE", ""))
        sound.writeframes(array.astype("<i2").tobytes() if width == 2 else bytes(len(array) * width))
    return path


def sensor(path: str, **changes: Any) -> SoundSensor:
    given: dict[str, Any] = {"rate_hz": RATE, "clip_s": 0.004, "hop_s": 0.002, "input": "x", "look_s": 0.01}
    return SoundSensor(model="m", path=path, **(given | changes))


def rows(config: SoundSensor, beside: Path, looks: int = 5, heard: Heard | None = None) -> list[Any]:
    left = iter(range(looks))
    return list(from_sound(config, beside / "agent.toml", lambda s: s > 0 and next(left, None) is None, heard))


def test_clips_overlap_or_leave_gaps_for_any_size_of_reads() -> None:
    raw = np.arange(12, dtype="<i2").tobytes()
    for hop, begins in ((2, [0, 2, 4, 6, 8]), (4, [0, 4, 8]), (7, [0, 7])):
        for size in (1, 3, 24):
            clips, found = Clips(4, hop, 1), []
            for at in range(0, len(raw), size):
                found += list(clips.cut(raw[at : at + size]))
            assert [offset for offset, _ in found] == begins
            for offset, clip in found:
                np.testing.assert_array_equal(clip * 32768, np.arange(offset, offset + 4))
                assert clip.dtype == np.float32


def test_channels_are_averaged_and_full_scale_is_one() -> None:
    ((_, clip),) = Clips(2, 2, 2).cut(np.array([[-32768, -32768], [32767, -32767]], "<i2").tobytes())
    assert clip.tolist() == [-1.0, 0.0]


def test_a_wav_file_becomes_rows_with_offsets_and_one_key(tmp_path: Path) -> None:
    write(tmp_path / "door.wav", np.arange(9))
    found = rows(sensor("door.wav", rate_input="sr"), tmp_path)
    assert [row.offset_s for row in found] == [0.0, 0.002, 0.004]
    assert {(row.key, row.file, row.values["sr"]) for row in found} == {("door.wav#1", "door.wav", RATE)}
    line = json.loads(line_of(Prediction("m", 1, "speech", 1.0, row=found[2]), 7.0))
    assert (line["file"], line["offset_s"]) == ("door.wav", 0.004)


def test_another_rate_or_width_is_refused_with_both_figures_and_an_invalid_file_too(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", np.arange(9), rate=44_100)
    write(tmp_path / "b.wav", np.arange(9), width=3)
    (tmp_path / "c.wav").write_bytes(b"RIFF, and then nothing")
    (tmp_path / "d.wav").write_bytes(b"")
    write(tmp_path / "e.wav", np.arange(4))
    a, b, c, d, e = rows(sensor(".", existing=True), tmp_path)
    assert "a.wav: it has 44100 samples a second, the sensor says rate_hz = 1000" in a.detail
    assert "b.wav: it has 24 bits a sample, 16 are taken" in b.detail
    assert "c.wav" in c.detail
    assert "d.wav" in d.detail
    assert isinstance(e, Sample)


def test_a_directory_gives_each_new_or_replaced_file_once(tmp_path: Path) -> None:
    heard = Heard()
    write(tmp_path / "old.wav", np.arange(4))
    assert rows(sensor("."), tmp_path, heard=heard) == []
    write(tmp_path / "new.wav", np.arange(4))
    assert [row.key for row in rows(sensor("."), tmp_path, heard=heard)] == ["new.wav#1"]
    assert rows(sensor("."), tmp_path, heard=heard) == []
    write(tmp_path / "other", np.arange(6)).rename(tmp_path / "new.wav")
    assert [row.key for row in rows(sensor("."), tmp_path, heard=heard)] == ["new.wav#2"] * 2


def test_a_pipe_is_read_again_when_its_writer_or_the_pipe_itself_returns(tmp_path: Path) -> None:
    path = tmp_path / "microphone"
    device = Sensors(tmp_path, sensor("microphone", hop_s=0.0))
    until(lambda: device.sensor.failures > 0)
    want = 0
    for number in range(2):
        os.mkfifo(path)
        for _ in range(2):
            with path.open("wb") as pipe:  # waits for the sensor
                pipe.write(np.arange(9, dtype="<i2").tobytes())
            want += 2
            until(lambda want=want: len(device.answered) >= want)
        path.unlink()
        until(lambda number=number: device.sensor.failures > number + 1)
    assert (device.sensor.rows, device.sensor.refused) == (8, 0)
    assert len(device.answered) == 8
    write(tmp_path / "sound", np.arange(4)).rename(path)
    until(lambda: device.sensor.state == "ended")
    assert len(device.answered) == 9
    device.pipelines.close()


def test_the_configuration_error_names_the_missing_keys_of_a_sound_sensor(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('[device]\nname = "d"\n[[sensor]]\nkind = "sound"\nmodel = "m"\npath = "."\nrate_hz = 16000\n')
    with pytest.raises(BadInput, match="clip_s"):
        load_config(file)
    assert Config(device=Device(name="d"), sensor=(sensor("."),)).sensor[0].model == "m"
