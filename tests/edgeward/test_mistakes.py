"""Each mistake of docs/reference/mistakes.md, made with the real programs and one real controller."""

import builtins
import datetime
import errno
import ipaddress
import os
import shlex
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import click
import pytest

import agent.cli
import controller.cli
import edgeward.cli.main
from contract.errors import Code
from edgeward.cli import device, rollout
from edgeward.cli.asked import asked_by
from edgeward.cli.endings import EXTRAS, HINTS, WITHOUT_NAME, Exit, hint_of
from edgeward.client import Client
from edgeward.demo.processes import Site
from edgeward.rollout_handle import RolloutHandle
from edgeward.transport import Transport
from tests.edgeward.mistakes import FILES, MISTAKES, MORE, Mistake

pytestmark = pytest.mark.broker

PROGRAMS = {
    "edgeward": edgeward.cli.main.run_arguments,
    "edgeward-controller": controller.cli.run,
    "edgeward-agent": agent.cli.run,
}
GOOD = """\
import numpy as np
from sklearn.linear_model import LogisticRegression
sample = np.random.default_rng(0).normal(size=(200, 2))
model = LogisticRegression().fit(sample, sample[:, 0] > 0)
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A directory with a controller, the files of the table, a server with its own certificate, a taken port."""
    home = tmp_path_factory.mktemp("mistakes")
    for name, text in {**FILES, "good.py": GOOD}.items():
        (home / name).write_text(text)
    site = Site(home)
    client = site.start_controller()
    left: dict[str, Any] = {}
    exec(GOOD, left)
    client.push(left["model"], name="weather", sample=left["sample"])
    tls, plain, free = _tls_server(home), site.url, socket.create_server(("127.0.0.1", 0))
    free_port = free.getsockname()[1]
    free.close()
    yield {
        "home": str(home),
        "data_dir": str(site.data_dir),
        "tls": f"https://127.0.0.1:{tls.getsockname()[1]}",
        "bare": f"http://127.0.0.1:{tls.getsockname()[1]}",
        "plain": plain.replace("http:", "https:"),
        "free": f"http://127.0.0.1:{free_port}",
        "taken": plain.rpartition(":")[2],
    }
    tls.close()
    site.stop()


def _tls_server(home: Path) -> socket.socket:
    """A server whose certificate is its own authority, and for another address."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "elsewhere")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.2"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (home / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (home / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home / "ca.pem", home / "key.pem")
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_greet, args=(server, context), daemon=True).start()
    return server


def _greet(server: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            with server.accept()[0] as connection:
                context.wrap_socket(connection, server_side=True).close()
        except ssl.SSLError:
            continue
        except OSError:
            return


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda each: each.did.replace(" ", "_"))
def test_a_mistake_is_reported_in_words_with_its_exit_code(
    mistake: Mistake, places: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(places["home"])
    monkeypatch.setenv("EDGEWARD_DATA_DIR", places["data_dir"])
    _arrange(mistake, monkeypatch)
    words = shlex.split(mistake.command.format(**places))
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        monkeypatch.setenv(name, value)
    before = {each.name for each in Path().iterdir()}
    umask = os.umask(0o022)
    try:
        ended = PROGRAMS[words[0]](words[1:])
    except SystemExit as error:  # argparse ends so
        ended = cast("int", error.code)
    finally:
        os.umask(umask)
    said = " ".join("".join(capsys.readouterr()).split())
    assert ended == mistake.ended, said
    assert "Traceback" not in said
    place = 0
    for part in mistake.said.split(MORE):
        assert (place := said.find(part.strip(), place)) >= 0, f"{part!r} is not in {said!r}"
    assert {each.name for each in Path().iterdir()} - before <= {"new"}, "a command that fails writes nothing"


def _arrange(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arranges the situation that `given` names."""

    def refuse(number: int) -> Any:
        def refused(path: Any, *_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number), str(path))

        return refused

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    if mistake.given == "read-only":
        monkeypatch.setattr(Path, "mkdir", refuse(errno.EROFS))
    elif mistake.given == "not allowed":
        monkeypatch.setattr(Path, "mkdir", refuse(errno.EACCES))
    elif mistake.given == "full":
        monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
        monkeypatch.setattr(device, "write_whole", refuse(errno.ENOSPC))
    elif mistake.given == "no pyarrow":
        monkeypatch.setattr(Client, "captured", _without_pyarrow)
    elif mistake.given == "Ctrl-C":
        monkeypatch.setattr(Transport, "push", interrupt)
        monkeypatch.setattr(RolloutHandle, "show", lambda self: None)
        monkeypatch.setattr(rollout, "_follow", interrupt)


def _without_pyarrow(*_: object) -> None:
    raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")


def test_every_command_in_a_hint_exists() -> None:
    for hint in (*HINTS.values(), *WITHOUT_NAME.values()):
        words = hint.partition(",")[0].split()[1:]
        at: click.Command = edgeward.cli.main.cli
        while words and isinstance(at, click.Group):
            at = at.commands[words.pop(0)]
        assert not isinstance(at, click.Group), hint


@pytest.mark.parametrize(
    ("command", "code", "hint"),
    [
        ("model show --json rain@7", Code.UNKNOWN_VERSION, "edgeward model show rain"),
        ("rollout start rain --version 7 --strategy canary", Code.UNKNOWN_VERSION, "edgeward model show rain"),
        ("rollout start rain", Code.GATES_NOT_PASSED, "edgeward model gates rain"),
        ("rollout start rain --version 7", Code.GATES_NOT_PASSED, "edgeward model gates rain@7"),
        ("rollout start rain@7", Code.GATES_NOT_PASSED, "edgeward model gates rain@7"),
        ("rollout abort r-1", Code.ROLLOUT_CONFLICT, "edgeward rollout show r-1"),
        ("rollout start rain", Code.ROLLOUT_CONFLICT, "edgeward rollout list --open"),
        ("model push v2.py --name rain", Code.UNKNOWN_VERSION, "edgeward model show rain"),
        ("device show haus-3", Code.DEVICE_RETIRED, "edgeward device adopt haus-3"),
        ("device retire haus-3 haus-4", Code.DEVICE_RETIRED, "edgeward device adopt haus-3"),
        ("rollout retry r-1", Code.GATES_NOT_PASSED, "edgeward model list"),
        ("data export rain@7 --out x.csv", Code.UNKNOWN_DATA_SET, "edgeward data list"),
        ("model list", Code.DISK_FULL, ""),
    ],
)
def test_a_hint_repeats_the_arguments_of_the_command_line_and_can_be_copied(
    command: str, code: Code, hint: str
) -> None:
    assert hint_of(code, asked_by(edgeward.cli.main.cli, command.split())) == hint


def test_every_extra_named_in_an_error_exists_in_the_project() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS.values()) <= set(project["optional-dependencies"])
    assert not set(EXTRAS) & set(sys.stdlib_module_names)


def test_a_fault_of_the_program_itself_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "models", lambda self: builtins.exec("1 / 0"))
    monkeypatch.setenv("EDGEWARD_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("EDGEWARD_TOKEN", "t")
    with pytest.raises(ZeroDivisionError):
        edgeward.cli.main.run_arguments(["model", "list"])


def test_a_user_without_a_name_can_send_requests_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeward import transport

    monkeypatch.setattr("getpass.getuser", lambda: (_ for _ in ()).throw(OSError("no such user")))
    assert transport._user() == f"uid-{os.getuid()}"


def test_the_exit_codes_are_different() -> None:
    assert len({int(each) for each in Exit}) == len(Exit)
