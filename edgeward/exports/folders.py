"""Writes a version to a folder in one of the formats, and finds a model with its rows in such a folder.

Decides which file of a folder is the model, and where its sample rows are. A pickle is never read: it is code.
Refuses to know the content of a format.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from contract.errors import BadInput, Code
from contract.golden import split_golden
from contract.manifest import Manifest, StateRules
from contract.recurrent import StateAsked, initial_of
from contract.tensors import Array, decode_tensors, encode_tensors
from contract.wire import decode_plain
from edgeward.exports import bom, huggingface, mlflow, mlmodel, oci
from edgeward.exports.exported import DESCRIBED, GOLDEN, MODEL, Exported
from edgeward.exports.signing import SIGNATURE, read_key, sign_folder
from edgeward.files import write_whole

Format = Literal["mlflow", "huggingface", "oci", "bom"]
WRITERS: Mapping[str, Callable[[Exported], dict[str, bytes]]] = {
    "mlflow": mlflow.folder,
    "huggingface": huggingface.folder,
    "oci": oci.folder,
    "bom": bom.folder,
}
MAX_DESCRIBED_BYTES = 16 << 20
"""The largest `edgeward.json`: evidence and an environment of 1,000 packages take 100 kB."""


@dataclass(frozen=True, slots=True)
class Found:
    """A model in a folder: its bytes, how they are pushed, its sample rows (None: the folder has none)."""

    kind: Literal["skops", "onnx"]
    model: bytes
    sample: Array | dict[str, Array] | None = None


def write_folder(exported: Exported, directory: Path, form: Format, sign_with: Path | None = None) -> int:
    """Writes a version to an empty or new directory; returns its bytes. `sign_with`: a private key for the OpenSSF
    signature.

    BadInput `request_invalid` if the directory is not empty, or the key is invalid.
    """
    key = read_key(sign_with) if sign_with is not None else None
    if directory.exists() and any(directory.iterdir()):
        raise BadInput(Code.REQUEST_INVALID, f"{directory} is not empty: name a new directory")
    files = WRITERS[form](exported)
    if key is not None:
        files[SIGNATURE] = sign_folder(files, directory.absolute().name, key)
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    return sum(map(len, files.values()))


def read_folder(directory: Path) -> Found:
    """The model in a folder: an MLflow model, an OCI layout, or a folder with `model.onnx` or `model.skops`.

    BadInput `request_invalid` says which files were expected; a model that exists only as a pickle is not read.
    """

    def read(name: str) -> bytes:
        path = (directory / name).resolve()
        if not path.is_relative_to(directory.resolve()) or not path.is_file():
            raise BadInput(Code.REQUEST_INVALID, f"{directory} has no {name}")
        return path.read_bytes()

    if (directory / oci.LAYOUT).is_file():
        files = oci.files_of(read)
        if MODEL not in files:
            raise BadInput(Code.REQUEST_INVALID, f"{directory} is an OCI layout without {MODEL}")
        return Found("onnx", files[MODEL], _golden_rows(files.get(GOLDEN), files.get(DESCRIBED)))
    if (directory / "MLmodel").is_file():
        kind, model = mlmodel.model_of(directory, read)
        name = f"model.{kind}"
    else:
        name = _of_folder(directory)
        model = read(name)
    beside = [read(each) if (directory / each).is_file() else None for each in (GOLDEN, DESCRIBED)]
    rows = _golden_rows(*beside)
    if rows is None and (directory / "MLmodel").is_file():
        rows = mlmodel.example_rows(directory, read)
    return Found("skops" if name.endswith(".skops") else "onnx", model, rows)


def told_in(directory: Path) -> dict[str, Any]:
    """Returns what an exported folder says about its version, as a push sends it: origin, metrics, licence, tags, the
    two models that it was made of, and under `recurrent` the state that devices keep.

    Empty for a folder that no export wrote. BadInput `request_invalid` if its description cannot be read.
    """

    def read(name: str) -> bytes:
        return (directory / name).read_bytes()

    layout = (directory / oci.LAYOUT).is_file()
    there = layout or (directory / DESCRIBED).is_file()
    raw = oci.files_of(read).get(DESCRIBED) if layout else read(DESCRIBED) if there else None
    if raw is None:
        return {}
    plain = decode_plain(raw, max_bytes=MAX_DESCRIBED_BYTES)
    lineage = plain.get("lineage") or {}
    told = {name: lineage[name] for name in ("data", "code", "params", "metrics", "licence") if lineage.get(name)}
    told |= {"environment": plain["environment"]} if plain.get("environment") else {}
    manifest = _manifest(plain["manifest"]) if plain.get("manifest") else None
    if manifest is not None and manifest.stages:
        told["stages"] = msgspec.to_builtins(manifest.stages)
    if manifest is not None and manifest.state is not None:
        told["recurrent"] = _recurrent(manifest.state)
    return told | {"tags": (plain.get("notes") or {}).get("tags") or plain.get("tags") or {}}


def _of_folder(directory: Path) -> str:
    for name in (MODEL, "model.skops"):
        if (directory / name).is_file():
            return name
    words = "expected an MLflow model, an OCI layout, model.onnx or model.skops"
    raise BadInput(Code.REQUEST_INVALID, f"{directory}: {words}; a pickle is code and is not taken")


def _golden_rows(golden: bytes | None, described: bytes | None) -> Array | dict[str, Array] | None:
    """Returns the inputs of a golden set as a sample: a matrix, or columns by name; None without one."""
    if golden is None or described is None:
        return None
    plain = decode_plain(described, max_bytes=MAX_DESCRIBED_BYTES)
    manifest = _manifest(plain.get("manifest"))
    inputs = split_golden(decode_tensors(golden), manifest)[0]
    if len(inputs) == 1 and next(iter(inputs)) not in manifest.columns:
        return next(iter(inputs.values()))
    if not inputs.keys() <= set(manifest.columns):
        return inputs
    return {name: array.reshape(len(array), -1)[:, 0] for name, array in inputs.items()}


def _recurrent(rules: StateRules) -> dict[str, Any]:
    """Returns the state of a version as a push asks for it."""
    asked = StateAsked(
        feeds={each.input: each.output for each in rules.tensors},
        initial=rules.tensors[0].initial,
        arrays=encode_tensors(begins)
        if (begins := {e.input: initial_of(e) for e in rules.tensors if e.begins})
        else b"",
        reset_after_s=rules.reset_after_s,
        max_keys=rules.max_keys,
    )
    found: dict[str, Any] = msgspec.to_builtins(asked)
    return found


def _manifest(plain: Any) -> Manifest:
    try:
        return msgspec.convert(plain, Manifest)
    except msgspec.ValidationError as error:
        raise BadInput(Code.REQUEST_INVALID, f"{DESCRIBED}: {error}") from None
