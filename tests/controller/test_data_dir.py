"""Every command of the controller finds the same data directory, and the commands that it prints work when copied."""

import shlex
from pathlib import Path

import pytest

from contract.errors import BadInput
from controller import cli
from controller.config import Config, StorageConfig
from controller.registry.restore import SCRATCH, check_whole
from controller.state import open_state


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Returns the data directories that `run` has served."""
    found: list[Path] = []

    async def note(config: Config) -> None:
        found.append(config.data_dir)

    monkeypatch.setattr(cli, "serve", note)
    monkeypatch.delenv("EDGEWARD_DATA_DIR", raising=False)
    return found


def test_the_environment_variable_names_the_served_directory(
    tmp_path: Path, served: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "controller.toml"
    file.write_text(f'[storage]\ndata_dir = "{tmp_path / "file"}"\n')
    cli.run(["run", "-c", str(file)])
    monkeypatch.setenv("EDGEWARD_DATA_DIR", str(tmp_path / "variable"))
    cli.run(["run", "-c", str(file)])
    cli.run(["run"])
    cli.run(["run", "--data-dir", str(tmp_path / "flag")])
    monkeypatch.setenv("EDGEWARD_DATA_DIR", "")
    cli.run(["run", "-c", str(file)])
    assert [each.name for each in served] == ["file", "variable", "variable", "flag", "file"]


@pytest.mark.parametrize("by", ["flag", "variable", "file"])
def test_the_commands_that_a_restore_prints_serve_the_restored_data(
    by: str,
    tmp_path: Path,
    served: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    open_state(Config(storage=StorageConfig(data_dir=str(tmp_path / "data")))).close()
    backup, home, file = str(tmp_path / "b.tar"), tmp_path / "a new home", tmp_path / "controller.toml"
    file.write_text(f'[storage]\ndata_dir = "{home}"\n')
    assert cli.run(["backup", backup, "--data-dir", str(tmp_path / "data")]) == 0
    if by == "variable":
        monkeypatch.setenv("EDGEWARD_DATA_DIR", str(home))
    given = {"flag": ["--data-dir", str(home)], "variable": [], "file": ["-c", str(file)]}[by]
    assert cli.run(["restore", backup, *given]) == 0
    (told,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("next: ")]
    monkeypatch.delenv("EDGEWARD_DATA_DIR", raising=False)
    program, *arguments = shlex.split(told.removeprefix("next: "))
    assert (program, cli.run(arguments)) == ("edgeward-controller", 0)
    assert served == [home]


def test_an_unfinished_restore_is_named_with_its_directory(tmp_path: Path) -> None:
    home = tmp_path / "a home"
    (home / SCRATCH).mkdir(parents=True)
    with pytest.raises(BadInput) as caught:
        check_whole(home)
    assert f"edgeward restore FILE --replace --data-dir {shlex.quote(str(home))}" in caught.value.detail
