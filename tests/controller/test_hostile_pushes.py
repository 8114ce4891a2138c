"""Attack table: a hostile model in the converter. Hostile files are pushed to real child processes.

Arbitrary code enters here through an operator who trusts `builtins.exec`, which represents a hole in any library.
"""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import all_estimators

from confinement.process import FULL, confinable
from contract.errors import BadInput, Code
from controller.convert import child, convert
from controller.convert.convert import ConversionLimits
from controller.convert.estimator import load_estimator
from controller.convert.parameters import OPENS
from controller.convert.starter import Starter
from controller.convert.trusted_types import TRUSTED_MODULES, is_trusted
from edgeward.encode import encode_rows
from tests.controller.conversions import convert_bytes

X = np.random.default_rng(0).normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)
HOLE = ("builtins.exec",)
full_only = pytest.mark.skipif(confinable() != FULL, reason=f"this kernel confines less: {confinable()}")


USED: dict[str, Starter | None] = {"starter": None}


@pytest.fixture(params=["fresh", "warm"])
def either_child(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The pushes of a test go to a fresh child, and then all of it again to one of the warm starter."""
    made = Starter() if request.param == "warm" else None
    monkeypatch.setitem(USED, "starter", made)
    yield
    if made is not None:
        assert made.deaths == 0  # else a fresh child has taken its place
        made.end()


def json_node(value: object) -> dict[str, Any]:
    return {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": json.dumps(value)}


def skops_file(schema: dict[str, Any]) -> bytes:
    honest = zipfile.ZipFile(io.BytesIO(skops.io.dumps(1)))
    protocol = json.loads(honest.read("schema.json"))["protocol"]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("schema.json", json.dumps({**schema, "protocol": protocol, "_skops_version": "0.16"}))
    return out.getvalue()


def calling(module: str, name: str, *arguments: object) -> dict[str, Any]:
    """A node that calls `module.name` while the file is loaded."""
    given = [json_node(argument) for argument in arguments]
    content = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": given}
    return {"__class__": name, "__module__": module, "__loader__": "ConstructorFromReduceNode", "content": content}


def push(raw: bytes, sample: Any = X, **limits: Any) -> convert.Converted:
    chosen = ConversionLimits(**{"timeout_s": 120, "memory_mb": 1024, **limits})
    return asyncio.run(convert_bytes("skops", raw, encode_rows(sample), chosen, starter=USED["starter"]))


def refused(raw: bytes, sample: Any = X, **limits: Any) -> BadInput:
    with pytest.raises(BadInput) as caught:
        push(raw, sample, **limits)
    return caught.value


def run_in_child(code: str, **limits: Any) -> BadInput:
    return refused(skops_file(calling("builtins", "exec", code)), trusted_types=HOLE, **limits)


ESCAPES = {
    "read /etc/passwd": "open('/etc/passwd').read(1)",
    "read the controller's keys": "open(key).read(1)",
    "list the directory beside its own": "os.listdir(outside)",
    "read its parent's environment": "open(f'/proc/{os.getppid()}/environ').read(1)",
    "find a secret in its own environment": "os.environ['EDGEWARD_SECRET']",
    "write outside its directory": "open(outside + '/written', 'w').write('x')",
    "delete the controller's keys": "os.unlink(key); assert not os.path.exists(key)",
    "change the mode of the keys": "os.chmod(key, 0o777)",
    "change the owner of the keys": "os.chown(key, 65534, 65534)",
    "change the mode of its own files": "os.chmod(own, 0o777)",
    "run a program": "subprocess.run(['/bin/true'], check=True)",
    "become a program": "os.execv('/bin/true', ['true'])",
    "fork": "os.fork()",
    "open a socket": "socket.socket()",
    "open a local socket": "socket.socket(socket.AF_UNIX)",
    "trace its parent": "called(libc.ptrace(16, os.getppid(), 0, 0))",
    "read its parent's memory": "called(libc.syscall(310, os.getppid(), 0, 0, 0, 0, 0))",
    "limit its parent": "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (1, 1))",
    "raise its own limits": "resource.setrlimit(resource.RLIMIT_CORE, (1, 1))",
    "slow its parent down": "os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
    "pin its parent": "os.sched_setaffinity(os.getppid(), {0})",
    "kill its parent": "os.kill(os.getppid(), 9)",
    "share memory by a key": "called(libc.shmget(77, 4096, 0o1666))",
    "hold memory without a limit": "os.memfd_create('x')",
    "hide a file from those who count": "os.open(own, os.O_TMPFILE | os.O_RDWR)",
    "leave a link to a file of the controller": "os.symlink('/etc/passwd', own + '/model.onnx')",
    "leave a second name of the keys": "os.link(key, own + '/model.onnx')",
    "ask by way of io_uring": "called(libc.syscall(425, 1, 0))",
    "mount": "called(libc.syscall(165, b'none', b'/mnt', b'tmpfs', 0, 0))",
    "leave for another namespace": "called(libc.unshare(0x10000000))",
}
TRY_ALL = """
import ctypes, json, os, resource, socket, subprocess
libc, outside, own = ctypes.CDLL(None, use_errno=True), {outside!r}, os.environ["TMPDIR"]
escapes, key, escaped = {escapes!r}, outside + "/director.key", []
def called(answer):
    import ctypes
    if answer == -1:
        raise OSError(ctypes.get_errno(), "refused")
for name, escape in escapes.items():
    try:
        exec(escape)
    except (OSError, KeyError, AssertionError, ValueError):  # setrlimit says EPERM by ValueError
        continue
    except BaseException as error:
        escaped.append(f"{{name}}: {{error!r}}")
    else:
        escaped.append(name)
open(own + "/mine", "w").write("x")
raise ValueError(f"tried {{len(escapes)}}, escaped {{escaped}}")
"""


@full_only
@pytest.mark.usefixtures("either_child")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="calls by number")
def test_a_hostile_model_changes_nothing_outside_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is tried in one child; every exception other than a refusal counts as an escape."""
    key = tmp_path / "director.key"
    key.write_text("secret")
    key.chmod(0o600)
    monkeypatch.setenv("EDGEWARD_SECRET", "token")
    priority = os.getpriority(os.PRIO_PROCESS, 0)
    error = run_in_child(TRY_ALL.format(outside=str(tmp_path), escapes=ESCAPES))
    assert f"tried {len(ESCAPES)}, escaped []" in error.detail, error.detail
    assert (key.read_text(), key.stat().st_mode & 0o777) == ("secret", 0o600)
    assert os.getpriority(os.PRIO_PROCESS, 0) == priority
    assert list(tmp_path.iterdir()) == [key]


FILL = """
import os
piece = b"x" * 2**20
for number in range({files}):
    with open(f"{{os.environ['TMPDIR']}}/{{number}}", "wb") as file:
        for _ in range({each}):
            file.write(piece)
"""


@full_only
@pytest.mark.usefixtures("either_child")
@pytest.mark.parametrize(
    ("code", "said"),
    [
        (FILL.format(files=1, each=2000), "not a skops file: OSError"),
        (FILL.format(files=100, each=50) + "import time; time.sleep(600)", "wrote more than 257 MB"),
        (FILL.format(files=100_000, each=0) + "import time; time.sleep(600)", "made more than 1000 files"),
        ("while True: pass", "took longer than"),
        ("held = [bytearray(2**20) for _ in range(100_000)]", "ran out of its memory"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "not a skops file: PermissionError"),
    ],
    ids=["one large file", "many files", "countless files", "endless work", "endless memory", "its own end"],
)
def test_a_hostile_model_uses_no_more_than_its_limits(code: str, said: str) -> None:
    timeout_s = 4 if said == "took longer than" else 150
    assert said in run_in_child(code, timeout_s=timeout_s, memory_mb=256).detail


@pytest.mark.usefixtures("either_child")
def test_endless_output_of_a_child_uses_no_memory() -> None:
    error = run_in_child("import sys\nwhile True: sys.stderr.write('x' * 65536)", timeout_s=4)
    assert "took longer than 4 s" in error.detail


def words_from_files(tmp_path: Path) -> tuple[list[str], np.ndarray]:
    paths = [tmp_path / f"{number}.txt" for number in range(20)]
    for number, path in enumerate(paths):
        path.write_text("wind rain" if number % 2 else "sun")
    return [str(path) for path in paths], np.arange(20) % 2


TOKENS = "[a-zA-Z0-9_]+"
OPENING: dict[str, Callable[[], Any]] = {
    "a vectorizer that reads files": lambda: CountVectorizer(input="filename", token_pattern=TOKENS),
    "one that is given files": lambda: HashingVectorizer(input="filename", token_pattern=TOKENS),
    "one inside a union": lambda: FeatureUnion([("w", CountVectorizer(input="filename", token_pattern=TOKENS))]),
}


@pytest.mark.parametrize("name", OPENING)
def test_a_model_that_names_files_to_read_is_refused(name: str, tmp_path: Path) -> None:
    paths, labels = words_from_files(tmp_path)
    model = make_pipeline(OPENING[name](), LogisticRegression()).fit(paths, labels)
    with pytest.raises(BadInput) as caught:
        load_estimator(skops.io.dumps(model), ())
    assert (caught.value.code, "input='filename'" in caught.value.detail) == (Code.ESTIMATOR_UNSUPPORTED, True)


@full_only
@pytest.mark.usefixtures("either_child")
def test_a_vectorizer_reads_no_file_of_the_controller_even_if_its_parameter_is_overlooked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second defence: such a model in a real child, without the first defence, which an operator's exec removes."""
    reads = "from sklearn.feature_extraction.text import CountVectorizer\n"
    reads += "raise ValueError(sorted(CountVectorizer(input='filename').fit(['/etc/passwd']).vocabulary_)[:5])"
    assert "Permission denied: '/etc/passwd'" in run_in_child(reads).detail


def test_steps_cached_in_a_directory_are_refused(tmp_path: Path) -> None:
    model = Pipeline([("s", StandardScaler()), ("l", LogisticRegression())], memory=str(tmp_path)).fit(X, Y)
    with pytest.raises(BadInput) as caught:
        load_estimator(skops.io.dumps(model), ())
    assert "memory=" in caught.value.detail


def test_every_parameter_of_scikit_learn_that_names_files_or_directories_is_listed() -> None:
    """Held to the words of scikit-learn's documentation, so that a new one is noticed; one only speaks of `memory`."""
    found = set()
    for _, estimator in all_estimators():
        words = (estimator.__doc__ or "").split("Attributes\n")[0]
        for name in estimator._get_param_names():
            described = words.partition(f"\n    {name} : ")[2].partition("\n\n    ")[0].split("\n    ")
            text = "\n".join(line for line in described[:1] + [row for row in described[1:] if row.startswith(" ")])
            if name != "compute_full_tree" and any(
                word in text for word in ("filename", "directory", "path to", "file object", "caching")
            ):
                found.add(name)
    assert found == set(OPENS)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("sklearn.calibration", "partial"),
        ("sklearn.metrics._scorer", "partial"),
        ("sklearn.model_selection._split", "warnings"),
        ("sklearn.utils._metadata_requests", "inspect"),
        ("sklearn.calibrationx", "Anything"),
        ("sklearn.metrics._classification.np", "load"),
        ("os", "system"),
        ("numpy", "load"),
        ("operator", "methodcaller"),
    ],
)
def test_a_type_is_trusted_by_the_module_that_defines_it(module: str, name: str) -> None:
    assert not is_trusted(f"{module}.{name}", ())
    with pytest.raises(BadInput) as caught:
        load_estimator(skops_file(calling(module, name, "x")), ())
    assert caught.value.code in (Code.ESTIMATOR_UNTRUSTED, Code.REQUEST_INVALID)


@pytest.mark.parametrize("called", [np.load, partial(np.load), np.log1p])
def test_the_only_accepted_partial_is_scikit_learns_check_of_columns(called: Any) -> None:
    with pytest.raises(BadInput):
        load_estimator(skops.io.dumps(FunctionTransformer(partial(called))), ())
    with pytest.raises(BadInput):
        load_estimator(skops_file(calling("functools", "partial", "x")), ())


def test_types_defined_by_the_trusted_modules_are_trusted() -> None:
    assert {module.split(".")[0] for module in TRUSTED_MODULES} == {"sklearn"}
    assert is_trusted("sklearn.gaussian_process.kernels.RBF", ())
    assert is_trusted("sklearn._loss._loss.CyHalfBinomialLoss", ())
    assert is_trusted("mine.Model", ("mine.Model",))


def test_a_function_inside_the_model_is_not_called() -> None:
    raw = skops.io.dumps(make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()).fit(np.abs(X), Y))
    assert load_estimator(raw, ()) is not None
    with pytest.raises(BadInput):
        load_estimator(skops.io.dumps(make_pipeline(FunctionTransformer(np.load), LogisticRegression())), ())


@pytest.mark.usefixtures("either_child")
def test_a_forest_that_requests_processes_converts_without_them() -> None:
    model = RandomForestClassifier(4, random_state=0, n_jobs=2).fit(X, Y)
    answer = push(skops.io.dumps(model)).answer
    assert (answer.task, answer.sandbox) == ("classification", confinable())
    assert answer.form.load_mb > 0


@pytest.mark.parametrize(("required", "code"), [(True, Code.SANDBOX_MISSING), (False, "")])
def test_the_configuration_decides_what_happens_if_the_kernel_confines_less(
    required: bool, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "confine", lambda bounds, readable, writable: "reduced: no landlock")
    request = child.Request(kind="skops", model="m", require_sandbox=required)
    if code:
        with pytest.raises(BadInput) as caught:
            child._confine(request, tmp_path)
        assert (caught.value.code, "no landlock" in caught.value.detail) == (code, True)
    else:
        assert child._confine(request, tmp_path) == "reduced: no landlock"


def test_a_child_ends_with_the_request_that_started_it(tmp_path: Path) -> None:
    """An operator who disconnects leaves no conversion behind."""

    async def hang_up() -> None:
        raw = skops_file(calling("builtins", "exec", "while True: pass"))
        running = asyncio.create_task(
            convert_bytes(
                "skops", raw, encode_rows(X), ConversionLimits(timeout_s=60, memory_mb=512, trusted_types=HOLE)
            )
        )
        await asyncio.sleep(2)
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(hang_up())
    listed = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True).stdout
    assert "controller.convert.start" not in listed, (listed, sys.version, signal.SIGKILL)
