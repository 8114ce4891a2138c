"""The files of a conversion are checked before they are read, and conversions run one after the other."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from contract.errors import BadInput, Code, WorldError
from controller.convert.convert import _collect
from controller.convert.request import ANSWER, Request
from controller.convert.scratch import MAX_ENTRIES, excess, read_file, scratch_directory
from controller.convert.turns import Turns


@pytest.mark.parametrize("kind", ["link", "pipe", "directory", "nothing", "too large"])
def test_only_a_regular_file_within_its_size_is_read(kind: str, tmp_path: Path) -> None:
    path, secret = tmp_path / "model.onnx", tmp_path / "secret"
    secret.write_text("key")
    if kind == "link":
        path.symlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "too large":
        path.write_bytes(b"x" * (2**20 + 1))
    with pytest.raises(BadInput) as caught:
        read_file(path, 1)
    assert caught.value.code == Code.CONVERSION_FAILED


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "answer").write_bytes(b"x" * 1000)
    assert read_file(tmp_path / "answer", 1) == b"x" * 1000


def test_written_data_is_counted_by_blocks_and_by_files(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"x" * 2 * 2**20)
    assert (excess(tmp_path, 3), excess(tmp_path, 1)) == ("", "wrote more than 1 MB")
    for number in range(MAX_ENTRIES):
        (tmp_path / str(number)).touch()
    assert excess(tmp_path, 3) == f"made more than {MAX_ENTRIES} files"


def test_a_directory_of_any_depth_is_removed() -> None:
    with scratch_directory() as directory:
        deep = directory
        for _ in range(1500):
            deep = deep / "d"
            deep.mkdir()
        (directory / "link").symlink_to("/etc")
    assert not directory.exists()
    assert Path("/etc/passwd").exists()


def test_a_second_push_waits_for_the_first() -> None:
    async def story() -> list[str]:
        turns, told = Turns(), []

        async def work(name: str) -> None:
            try:
                async with turns.turn():
                    told.append(f"{name} begins")
                    await asyncio.sleep(0.05)
                    told.append(f"{name} ends")
            except WorldError as error:
                told.append(f"{name} {error.code}")

        await asyncio.gather(*(work(name) for name in ("first", "second")))
        return told

    assert asyncio.run(story()) == ["first begins", "first ends", "second begins", "second ends"]


def test_a_push_waits_for_its_turn_only_up_to_a_limit() -> None:
    async def story() -> None:
        turns = Turns(wait_s=0.05)
        async with turns.turn():
            with pytest.raises(WorldError) as caught:
                async with turns.turn():
                    pass
        assert (caught.value.code, "0.05 s" in caught.value.detail) == (Code.BUSY, True)
        async with turns.turn():  # and the next one finds it free
            pass

    asyncio.run(story())


def test_an_answer_names_no_file_outside_the_directory(tmp_path: Path) -> None:
    """The child chooses the names of forms, and files are found by them."""
    form = {"golden_rows": 1, "ir": 8, "opset": 18, "ml_opset": 3}
    compared = {"rows": 1, "differing": 0, "max_abs_difference": 0.0}
    parity = {"reference": "none", "precision": "x", "sample": compared, "boundary": compared}
    said = {"task": "other", "inputs": [], "outputs": [], "columns": [], "form": form, "parity": parity}
    (tmp_path / ANSWER).write_text(json.dumps({**said, "variants": {"../../keys": form}}))
    with pytest.raises(BadInput) as caught:
        asyncio.run(_collect(tmp_path, Request(kind="onnx", model="m", variants=("fp16",)), 10, None, 1024))
    assert "../../keys" in caught.value.detail
