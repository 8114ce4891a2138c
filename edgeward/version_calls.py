"""The calls of the client that are about versions of models: push, show, search, compare, name, comment, withdraw.

Decides nothing. Refuses to know HTTP (`transport`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from contract.errors import BadInput, Code
from contract.manifest import Manifest
from edgeward import arguments, sticks
from edgeward.answers.blob import Blob
from edgeward.answers.models import (
    Alias,
    Cleaned,
    Comparison,
    Fit,
    Found,
    GatePolicy,
    Model,
    Notes,
    Version,
    VersionDetail,
)
from edgeward.answers.pushes import Pushed, PushUnderWay
from edgeward.answers.table import Table
from edgeward.answers.tried import Tried
from edgeward.recurrent import RecurrentState
from edgeward.runs.pushes import note_push, open_run, repeated_push, told_by
from edgeward.sending import Sent
from edgeward.transport import Transport

if TYPE_CHECKING:
    from edgeward.held_out import HeldOut, OwnGate
    from edgeward.runs.run import Run


class VersionCalls:
    """Calls about versions. Each call takes as a version its number, a semantic version, an alias, or `newest`."""

    _transport: Transport

    def push(
        self,
        model: Any,
        *,
        name: str,
        sample: Any = None,
        feeds: Mapping[str, str] | None = None,
        state: RecurrentState | None = None,
        data: Any = None,
        parent: str | int = "",
        metrics: Mapping[str, float] | None = None,
        licence: str = "",
        held_out: "HeldOut | None" = None,
        gates: "Mapping[str, OwnGate] | None" = None,
        tags: dict[str, str] | None = None,
        variants: Sequence[Literal["fp16", "int8"]] = (),
        waive_rows: str = "",
        run: "Run | None" = None,
        retraining: str = "",
        training_s: float = 0.0,
        start: str = "",
        sent: Sent | None = None,
    ) -> Pushed:
        """Converts, verifies and registers a version; returns the controller's facts about it.

        `model` is a fitted estimator or pipeline, a live network of PyTorch or Keras, which becomes ONNX here, ONNX
        bytes, a path to .onnx or .skops, the path of a folder (MLflow's, Hugging Face's or an OCI layout), or
        `models:/name@alias` on the MLflow server that MLFLOW_TRACKING_URI names. `sample` holds rows as devices
        will see them: a DataFrame, an array (rows, ...), or arrays by input name; a folder that `export_folder`
        wrote brings its own. `variants` are smaller forms to make as well, for devices on which the full one does
        not fit; those with other answers are left out.

        A list of two models is a version in which the second answers what the first gives: ONNX first, then ONNX or an
        estimator. An output of the first is the input of the same name of the second; `feeds` names the output by each
        input where names differ, and the only matrix is an estimator's without a word. Both are run here, one after
        the other: by these answers the one that devices get is judged. Two fitted estimators are pushed as a Pipeline.

        `state` are outputs that devices feed to the next request of a stream: callers do not send or get them.

        A live estimator or network answers the sample and test rows here; by these answers the controller judges
        the conversion. `waive_rows` is the reason why a sample of few distinct rows is enough; it is kept with the
        version.

        Its origin is kept with it: the commit of the current directory, the installed packages and the estimator's
        parameters are collected. `data` are the rows it was trained on, of which only a digest is sent; `parent`
        the version from which it follows (the newest, if none is named), `metrics` what was measured on it,
        `licence` an SPDX identifier. `held_out` are rows for the gates before release, which the controller answers
        by the converted model and deletes after the push; `gates` are your own, functions of (model, held-out rows)
        that run here and whose verdicts are recorded as yours.

        A folder that `export_folder` wrote brings all of this; arguments here replace its values.

        `run` is the run that made it (None: the one that is open here, if one is): the version gets its id, its
        last metrics and the names of its data sets, and the run gets the version. While a run is reproduced nothing
        is pushed.

        `retraining` is the id of the attempt whose candidate this is, and `training_s` how long it was trained: then it
        must beat the champion. `start` says in words whether the training continued from the champion's estimator.

        `sent` is called with (bytes sent, bytes in all) while they are sent; the conversion comes after that.

        The same bytes as an existing version make no new one: `new` is False then. BadInput: `sample_refused` and
        `sample_too_small` before anything is sent; `parity_failed`, `gates_not_passed`, `estimator_unsupported`,
        `estimator_untrusted`, `conversion_limit` and similar codes.
        """
        _check_push(
            name=name, parent=parent, metrics=metrics, licence=licence, held_out=held_out, gates=gates, tags=tags,
            variants=variants, waive_rows=waive_rows, feeds=feeds, state=state, run=run, retraining=retraining,
            training_s=training_s, start=start,
        )  # fmt: skip
        from edgeward.held_out import run_gates  # imports that only a push needs, numpy too
        from edgeward.lineage import told_of
        from edgeward.networks.network import network_of
        from edgeward.pushed_parts import parts_of

        opened = open_run(run)
        if opened is not None and (known := repeated_push(opened, model, name, sample)) is not None:
            return known
        kind, raw, rows = parts_of(model, sample, feeds or {}, waived=bool(waive_rows))
        told = told_of(model, data=data, parent=str(parent), metrics=metrics, licence=licence)
        brought = _brought(model)
        tags = {**brought.pop("tags", {}), **(tags or {})}
        kept = brought.pop("recurrent", None)
        kept = kept if state is None else state.encode()
        own = ("code", "environment")
        told |= {what: value for what, value in brought.items() if what in own or not told.get(what)}
        if opened is not None:
            told = told_by(opened, told)
        verdicts = run_gates(gates or {}, model, held_out)
        request: dict[str, Any] = {"kind": kind, "tags": tags, "variants": list(variants)}
        request |= {"waive_rows": waive_rows, "told": told, "own_gates": verdicts}
        if kept is not None:
            request["recurrent"] = kept
        if retraining:
            request["retrained"] = {"id": retraining, "training_s": training_s, "start": start}
        parts = {"model": raw, "sample": rows}
        parts |= {} if held_out is None else {"held_out": held_out.encode()}
        answer = Pushed.read(self._transport.push(f"/v1/models/{name}/versions", request, parts, sent))
        if opened is not None:
            note_push(opened, model if network_of(model) is None else raw, name, answer, self._transport)
        return answer

    def send_run(self, run: str, directory: Path | None = None) -> None:
        """Sends a run of this machine, so that the page shows it: an id, the beginning of one, or `newest`. Arguments,
        directories and files stay here.

        A run that pushed a version is sent by itself at its end. BadInput `forbidden` if another person sent it.
        """
        from edgeward.runs.sent import send_run
        from edgeward.runs.store import RunStore

        send_run(self._transport, RunStore(directory), run)

    def try_out(
        self,
        model: Any,
        *,
        name: str,
        sample: Any,
        feeds: Mapping[str, str] | None = None,
        waive_rows: bool = False,
        on: str | Mapping[str, str] = "",
        max_bytes: int | None = None,
    ) -> Tried:
        """Returns the measurements of a model as if it were a version of `name`: parity, size, latency and memory;
        registers nothing.

        `model`, `sample` and `feeds` as for `push`; the audit names the try. `on` is a device, or the labels of a
        class of devices, that probes the form as well and never serves it; a form larger than `max_bytes` is sent
        to no device. The device's answer is in `on`, also that it is busy. BadInput as of a push, `unknown_device`,
        `selector_empty`; WorldError `busy`, `broker_unreachable`.
        """
        from edgeward.pushed_parts import parts_of

        kind, raw, rows = parts_of(model, sample, feeds or {}, waived=waive_rows)
        request: dict[str, Any] = {"kind": kind, "waive_rows": waive_rows}
        if on:
            where = {"device": on} if isinstance(on, str) else {"labels": dict(on)}
            request["on"] = {**where, "max_bytes": max_bytes}
        return Tried.read(self._transport.push(f"/v1/models/{name}/try", request, {"model": raw, "sample": rows}))

    def pushes(self) -> Table[PushUnderWay]:
        """The running pushes, the one that began first at the top."""
        return Table(map(PushUnderWay.read, self._transport.get("/v1/pushes")))

    def models(self) -> Table[Model]:
        """All models."""
        return Table(map(Model.read, self._transport.get("/v1/models")))

    def versions(self, model: str) -> Table[Version]:
        """Versions of a model, oldest first."""
        return Table(map(Version.read, self._transport.get(f"/v1/models/{model}/versions")))

    def version(self, model: str, release: int | str) -> VersionDetail:
        """One version with manifest, lineage, notes and evidence."""
        return VersionDetail.read(self._transport.get(_path(model, release)))

    def search(self, *where: str, text: str = "", sort: str = "-created_at", limit: int = 50, offset: int = 0) -> Found:
        """Versions of all models that meet every condition: `search("metric.accuracy > 0.9", "tag.site = oslo")`.

        Fields: model, release, semver, created_at, created_by, estimator, task, digest, licence, revision, data,
        size_bytes, passed, withdrawn, and tag.NAME, metric.NAME, param.NAME, alias.NAME. Operators: = != < <= > >=,
        and ~ for a part of a text. `text` is anywhere in names, tags, note or comments; `sort` is a field, with `-`
        before it descending, and versions without that tag, metric, parameter or alias are left out. BadInput
        `request_invalid`.
        """
        query = [("where", each) for each in where] + [("text", text), ("sort", sort)]
        page = [("limit", str(limit)), ("offset", str(offset))]
        return Found.read(self._transport.get(f"/v1/versions?{urlencode([*query, *page])}"))

    def compare(self, model: str, before: int | str, after: int | str) -> Comparison:
        """What differs between two versions: signature, metrics, parity, size, parameters, lineage, environment."""
        return Comparison.read(self._transport.get(f"/v1/models/{model}/compare/{_named(before)}/{_named(after)}"))

    def check(self, model: str, release: int | str) -> Fit:
        """Which devices can run a version, in which form, and why the others cannot."""
        return Fit.read(self._transport.get(f"{_path(model, release)}/fit"))

    def withdraw(self, model: str, release: int | str, reason: str) -> VersionDetail:
        """Excludes a version from every later rollout; its `devices` have it and continue."""
        answer = self._transport.post(f"{_path(model, release)}/withdraw", {"reason": reason})
        return VersionDetail.read(answer)

    def reinstate(self, model: str, release: int | str) -> VersionDetail:
        """Allows a withdrawn version in rollouts again."""
        return VersionDetail.read(self._transport.post(f"{_path(model, release)}/reinstate"))

    def waive(self, model: str, release: int | str, gate: str, reason: str) -> VersionDetail:
        """Makes a version pass although a gate has failed; the reason is shown with it."""
        return VersionDetail.read(
            self._transport.post(f"{_path(model, release)}/waive", {"gate": gate, "reason": reason})
        )

    def gate_policy(self, model: str) -> GatePolicy:
        """Limits that versions of a model must keep to before release."""
        return GatePolicy.read(self._transport.get(f"/v1/models/{model}/gates"))

    def set_gate_policy(self, model: str, policy: Mapping[str, Any]) -> GatePolicy:
        """Sets the limits for versions that are pushed later; `policy` as in configs/gates/example.toml."""
        return GatePolicy.read(self._transport.put(f"/v1/models/{model}/gates", dict(policy)))

    def aliases(self, model: str) -> Table[Alias]:
        """Aliases of a model, and the version that each names now."""
        return Table(map(Alias.read, self._transport.get(f"/v1/models/{model}/aliases")))

    def set_alias(self, model: str, alias: str, release: int | str) -> Alias:
        """Sets an alias, such as `champion`, to a version."""
        return Alias.read(self._transport.put(f"/v1/models/{model}/aliases/{alias}", {"version": str(release)}))

    def remove_alias(self, model: str, alias: str) -> Table[Alias]:
        """Removes an alias; returns the others."""
        return Table(map(Alias.read, self._transport.delete(f"/v1/models/{model}/aliases/{alias}")))

    def tag(self, model: str, release: int | str, tags: Mapping[str, str | None]) -> Notes:
        """Sets tags of a version, and removes those whose value is None."""
        return Notes.read(self._transport.put(f"{_path(model, release)}/tags", {"tags": dict(tags)}))

    def write_note(self, model: str, release: int | str, text: str) -> Notes:
        """Replaces the note of a version; an empty text removes it."""
        return Notes.read(self._transport.put(f"{_path(model, release)}/note", {"text": text}))

    def comment(self, model: str, release: int | str, text: str) -> Notes:
        """Appends a comment to a version."""
        return Notes.read(self._transport.post(f"{_path(model, release)}/comments", {"text": text}))

    def clean(self, model: str, *, keep: int, apply: bool = False) -> Cleaned:
        """Returns which versions keep their blobs, and why; with `apply` the others may not be started any more.

        A call a day later deletes their blobs. Versions themselves always stay.
        """
        return Cleaned.read(self._transport.post(f"/v1/models/{model}/clean", {"keep": keep, "apply": apply}))

    def export(self, model: str, release: int | str, directory: Path) -> int:
        """Writes the blobs of a version, all its forms and encodings, to a directory for devices; returns its bytes.

        Each is under its digest, with the list of its chunks beside it; existing ones are not fetched again.
        BadInput `store_corrupt` if one is missing; WorldError `digest_mismatch` if one arrived damaged.
        """
        found = self._whole(model, release)
        forms = msgspec.convert(found.manifest, Manifest).forms
        named = [each for form in forms for each in (form.artifact, form.golden.blob)]
        blobs = [Blob.read(msgspec.to_builtins(each)) for each in named]
        return sticks.write_blobs([*blobs, *(each.blob for each in found.deliveries)], directory, self._blob)

    def export_folder(
        self,
        model: str,
        release: int | str,
        directory: Path,
        form: Literal["mlflow", "huggingface", "oci", "bom"],
        sign_with: Path | None = None,
    ) -> int:
        """Writes a version as a folder that MLflow, Hugging Face or a registry of containers reads; returns its bytes.

        `sign_with` is a private key in PEM, by which the folder gets an OpenSSF model signature, `model.sig`.
        BadInput `request_invalid` if the directory is not empty; WorldError `digest_mismatch`.
        """
        from edgeward.exports.exported import collect  # yaml takes 30 ms to import, and few calls export
        from edgeward.exports.folders import write_folder

        return write_folder(collect(self._whole(model, release), self._blob), directory, form, sign_with)

    def export_lineage(self, model: str, release: int | str, directory: Path, *, prediction: str = "") -> int:
        """Writes a version with its signed lineage to a new directory for `edgeward lineage verify`; returns its bytes.

        `prediction` is the id of a captured row that the version made, or the name of the answer. BadInput
        `signature_invalid` if no release signer has signed the version, `request_invalid` for a prediction of
        another version.
        """
        from contract.lineage import SignedLineage
        from contract.trust.documents import role_name
        from edgeward.answers.answer import read
        from edgeward.exports.exported import collect
        from edgeward.provenance.folder import write_provenance

        query = urlencode({"prediction": prediction})
        signed = read(self._transport.get(f"{_path(model, release)}/statement?{query}"), SignedLineage)
        metadata = self._transport.get("/v1/trust")["files"]
        exported = collect(self._whole(model, release), self._blob)
        return write_provenance(exported, signed, metadata, directory, f"{role_name(model)}.json")

    def artifact_bytes(self, digest: str) -> bytes:
        """The bytes of an artifact by its digest, as devices get them."""
        return self._blob(digest)

    def _whole(self, model: str, release: int | str) -> VersionDetail:
        """Returns a version whose files are all there; BadInput `store_corrupt` names the first that is not."""
        found = self.version(model, release)
        if found.lost:
            raise BadInput(Code.STORE_CORRUPT, found.lost)
        return found

    def _blob(self, digest: str) -> bytes:
        return self._transport.fetch(f"/v1/blobs/{digest}")


def _brought(model: Any) -> dict[str, Any]:
    """Returns the facts about a version in an exported folder; empty for any other model."""
    if not isinstance(model, str | Path) or not Path(model).is_dir():
        return {}
    from edgeward.exports.folders import told_in  # yaml takes 30 ms to import, and few models are folders

    return told_in(Path(model))


def _path(model: str, release: int | str) -> str:
    return f"/v1/models/{model}/versions/{_named(release)}"


def _named(release: int | str) -> str:
    return quote(str(release), safe="")


def _check_push(**given: Any) -> None:
    """Refuses arguments that `push` cannot take, by name. BadInput `request_invalid`."""
    for argument in ("name", "licence", "waive_rows", "retraining", "start"):
        arguments.text(argument, given[argument])
    arguments.text_or_number("parent", given["parent"])
    arguments.number("training_s", given["training_s"])
    arguments.texts("variants", given["variants"], '["fp16"]')
    arguments.by_name("feeds", given["feeds"], arguments.text, '{"input": "output"}')
    arguments.by_name("metrics", given["metrics"], arguments.number, '{"accuracy": 0.9}')
    arguments.by_name("tags", given["tags"], arguments.text, '{"experiment": "42"}')
    arguments.by_name("gates", given["gates"], arguments.function, '{"bias": check_bias}')
    if given["held_out"] is not None:
        from edgeward.held_out import HeldOut

        if not isinstance(given["held_out"], HeldOut):
            arguments.refuse("held_out", given["held_out"], "rows with their labels, HeldOut(rows, labels)")
    if given["state"] is not None and not isinstance(given["state"], RecurrentState):
        arguments.refuse("state", given["state"], 'edgeward.RecurrentState({"h_in": "h_out"})')
    if given["run"] is not None and not hasattr(given["run"], "note_pushed"):
        arguments.refuse("run", given["run"], "the run of `with edgeward.run(...) as run`")
