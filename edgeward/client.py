"""The Python client, made for notebooks: push a model, roll it out, look at the fleet.

Tables come back as DataFrames, single things as dicts with the API's names. Errors are coded and say what to do.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from contract.blobs import Blob, chunk_list, sha256_hex
from contract.errors import BadInput, Code, WorldError
from contract.manifest import Manifest
from contract.stick import ALL_MESSAGES, DOCUMENTS, MAX_MESSAGES_BYTES, StickDocuments, StickMessages
from contract.wire import decode, encode
from edgeward.encode import encode_model, encode_rows
from edgeward.settings import find_settings
from edgeward.transport import Transport

POLL_S = 0.5
CAPTURED_PAGE = 10_000


class Client:
    """One controller. Without arguments it finds a local one (see `edgeward.settings`).

    >>> client = Client()                                              # doctest: +SKIP
    >>> client.push(pipeline, name="weather", sample=X)                # doctest: +SKIP
    >>> client.rollout("weather", strategy="canary").wait()            # doctest: +SKIP
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self._transport = Transport(find_settings(url, token))

    def health(self) -> dict[str, Any]:
        """Whether controller and broker work: `status` is ok, or failing with `findings`."""
        return dict(self._transport.get("/v1/health", also=(503,)))

    def push(
        self,
        model: Any,
        *,
        name: str,
        sample: Any,
        tags: dict[str, str] | None = None,
        variants: Sequence[Literal["fp16", "int8"]] = (),
    ) -> dict[str, Any]:
        """Convert, verify and register a version; what the controller knows about it.

        `model` is a fitted estimator or pipeline, ONNX bytes, or a path to .onnx or .skops; `sample` holds rows as
        devices will see them (2-D array or DataFrame). `variants` are smaller forms to make as well, for devices on
        which the full one does not fit; those that answer otherwise are left out. BadInput: `parity_failed`,
        `estimator_unsupported`, `estimator_untrusted`, `conversion_limit` and their like.
        """
        kind, raw = encode_model(model)
        path = f"/v1/models/{name}/versions"
        answer = self._transport.push(
            path, {"kind": kind, "tags": tags or {}, "variants": list(variants)}, raw, encode_rows(sample)
        )
        return dict(answer)

    def models(self) -> Any:
        """All models as a DataFrame."""
        return _frame(self._transport.get("/v1/models"))

    def versions(self, model: str) -> Any:
        """Versions of a model as a DataFrame, oldest first."""
        return _frame(self._transport.get(f"/v1/models/{model}/versions"))

    def version(self, model: str, release: int) -> dict[str, Any]:
        """One version with manifest, lineage and evidence."""
        return self._dict(f"/v1/models/{model}/versions/{release}")

    def export(self, model: str, release: int, directory: Path) -> int:
        """Write the blobs of a version, all its forms and encodings, to a directory for devices; its bytes.

        Each under its digest, with the list of its chunks beside it; what is there is not fetched again.
        WorldError `digest_mismatch` if one came damaged.
        """
        found = self.version(model, release)
        forms = msgspec.convert(found["manifest"], Manifest).forms
        blobs = [each for form in forms for each in (form.artifact, form.golden.blob)]
        blobs += [msgspec.convert(each["blob"], Blob) for each in found["deliveries"]]
        directory.mkdir(parents=True, exist_ok=True)
        return sum(self._write_blob(blob, directory) for blob in blobs)

    def export_stick(self, devices: Sequence[str], directory: Path) -> dict[str, Any]:
        """Write what devices without a broker need to a directory, on a stick: `devices` (none: all) and `bytes`.

        The documents come last: who finds them finds what they name. BadInput `unknown_device`.
        """
        query = "&".join(f"device={device}" for device in devices)
        found = self._dict(f"/v1/stick?{query}")
        directory.mkdir(parents=True, exist_ok=True)
        written = sum(self._write_blob(msgspec.convert(each, Blob), directory) for each in found["blobs"])
        fresh = directory / f"{DOCUMENTS}.tmp"
        fresh.write_bytes(encode(StickDocuments(documents=found["documents"])))
        fresh.replace(directory / DOCUMENTS)
        return {"devices": found["devices"], "bytes": written}

    def import_stick(self, directory: Path) -> dict[str, int]:
        """Bring what devices said to a stick to the controller: how many messages it has `taken` and `refused`.

        Twice is as good as once. BadInput `message_malformed`, `message_too_large`.
        """
        taken = {"taken": 0, "refused": 0}
        for path in sorted(directory.glob(ALL_MESSAGES)):
            words = _words(path)
            answer = self._transport.post("/v1/stick", msgspec.to_builtins(words))
            taken = {key: count + int(answer[key]) for key, count in taken.items()}
        return taken

    def _write_blob(self, blob: Blob, directory: Path) -> int:
        """Bytes written: none for a blob that is there."""
        path = directory / blob.sha256
        if path.exists() and sha256_hex(path.read_bytes()) == blob.sha256:
            return 0
        data = self._transport.fetch(f"/v1/blobs/{blob.sha256}")
        if sha256_hex(data) != blob.sha256:
            raise WorldError(Code.DIGEST_MISMATCH, f"blob {blob.sha256[:12]} came damaged; try again")
        (directory / f"{blob.sha256}.list").write_bytes(chunk_list(data, blob.chunk_bytes))
        path.write_bytes(data)
        return len(data)

    def captured(self, model: str, after: int = 0) -> Any:
        """What devices kept of a model's inferences, a row each, as a DataFrame; `after` an id only what is newer."""
        found: list[dict[str, Any]] = []
        while page := self._transport.get(f"/v1/models/{model}/captured?after={after}&limit={CAPTURED_PAGE}"):
            found += [_flat(each) for each in page]
            after = page[-1]["id"]
        return _frame(found)

    def label(self, model: str, labels: dict[int, str | float]) -> int:
        """Give captured rows, by their id, the labels that came late; how many there were."""
        body = {"labels": [{"id": number, "label": label} for number, label in labels.items()]}
        return int(self._transport.post(f"/v1/models/{model}/labels", body)["rows"])

    def plan(
        self,
        model: str,
        *,
        release: int | None = None,
        strategy: str | dict[str, Any] = "canary",
        selector: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """What `rollout` would do: waves, who is left out and why, bytes, earliest end, what its rules can detect."""
        body = {"model": model, "release": release, "strategy": strategy, "selector": selector or {}}
        return dict(self._transport.post("/v1/rollouts/plan", body))

    def rollout(
        self,
        model: str,
        *,
        release: int | None = None,
        strategy: str | dict[str, Any] = "canary",
        selector: dict[str, str] | None = None,
        plan_digest: str = "",
    ) -> "RolloutHandle":
        """Start a rollout of a release (None: the newest released) to devices with these labels (None: all).

        With the `plan_digest` of a `plan` that very plan is started, or nothing (`plan_changed`).
        """
        body = {"model": model, "release": release, "strategy": strategy, "selector": selector or {}}
        body["plan_digest"] = plan_digest
        return RolloutHandle(self._transport, self._transport.post("/v1/rollouts", body)["id"])

    def deploy(
        self,
        model: str,
        *,
        strategy: str | dict[str, Any] = "canary",
        selector: dict[str, str] | None = None,
        approval: bool = False,
    ) -> dict[str, Any]:
        """Let every version of a model that passes its gates go out by itself from now on."""
        body = {"strategy": strategy, "selector": selector or {}, "approval": approval}
        return dict(self._transport.put(f"/v1/models/{model}/deployment", body))

    def deployments(self) -> dict[str, Any]:
        """Deployment policies by model."""
        return self._dict("/v1/deployments")

    def end_deployment(self, model: str) -> None:
        """Let versions of a model wait for a hand again."""
        self._transport.delete(f"/v1/models/{model}/deployment")

    def events(self, after: str = "") -> Iterator[dict[str, Any]]:
        """What happens to rollouts, as CloudEvents, for as long as the controller is there; `after` an id first those
        after it that are kept.
        """
        return self._transport.events("/v1/events", after)

    def open_rollout(self, rollout: str) -> "RolloutHandle":
        """A handle to a rollout that exists."""
        handle = RolloutHandle(self._transport, rollout)
        handle.show()
        return handle

    def rollouts(self) -> Any:
        """All rollouts as a DataFrame, newest first."""
        return _frame(self._transport.get("/v1/rollouts")).drop(columns=["members", "verdicts"], errors="ignore")

    def devices(self) -> Any:
        """The fleet as a DataFrame: one row a device and model."""
        return _frame([row for device in self.device_list() for row in _device_rows(device)])

    def device_list(self) -> list[dict[str, Any]]:
        """The fleet with everything the API says."""
        return list(self._transport.get("/v1/devices"))

    def device(self, name: str) -> dict[str, Any]:
        """One device with its history."""
        return self._dict(f"/v1/devices/{name}")

    def why(self, device: str) -> list[str]:
        """Why a device runs what it runs, in order."""
        return list(self._dict(f"/v1/devices/{device}/why")["sentences"])

    def unquarantine(self, device: str) -> int:
        """Let a device be offered versions again that have failed there; how many those are."""
        return int(self._transport.post(f"/v1/devices/{device}/unquarantine")["versions"])

    def enrolment(self) -> dict[str, Any]:
        """Broker address and root of trust for a new device."""
        return self._dict("/v1/enrolment")

    def create_token(self, name: str, roles: list[str], days: float) -> dict[str, Any]:
        """A token for somebody; it is shown this once."""
        return dict(self._transport.post("/v1/tokens", {"name": name, "roles": roles, "days": days}))

    def tokens(self) -> list[dict[str, Any]]:
        """Every token, without its secret."""
        return list(self._transport.get("/v1/tokens"))

    def revoke_token(self, identifier: str) -> None:
        """End a token."""
        self._transport.post(f"/v1/tokens/{identifier}/revoke")

    def audit(self) -> dict[str, Any]:
        """All of the audit, with the checkpoint that signed metadata carries."""
        return self._dict("/v1/audit/export")

    def claim(self, device: str) -> dict[str, Any]:
        """What a device needs to enrol, once, within an hour. Treat it as a password."""
        return dict(self._transport.post(f"/v1/devices/{device}/claim"))

    def revoke(self, device: str) -> int:
        """Take a device's certificates away; how many those were."""
        return int(self._transport.post(f"/v1/devices/{device}/revoke")["certificates"])

    def trust(self) -> dict[str, Any]:
        """Roles, every signed document, and what waits for a signature."""
        return self._dict("/v1/trust")

    def proposal(self, model: str) -> dict[str, Any]:
        """What the release signer of a model is asked to vouch for."""
        return self._dict(f"/v1/models/{model}/proposal")

    def offer_metadata(self, files: dict[str, str]) -> list[str]:
        """Hand in documents that were signed here; names of those that were new."""
        return list(self._transport.put("/v1/trust", {"files": files})["taken"])

    def make_online_key(self, role: str) -> dict[str, Any]:
        """The public half of a new key of the controller's."""
        return dict(self._transport.post("/v1/trust/keys", {"role": role}))

    def _dict(self, path: str) -> dict[str, Any]:
        return dict(self._transport.get(path))


class RolloutHandle:
    """One rollout."""

    def __init__(self, transport: Transport, rollout: str) -> None:
        self._transport = transport
        self.id = rollout

    def show(self) -> dict[str, Any]:
        """As it stands."""
        return dict(self._transport.get(f"/v1/rollouts/{self.id}"))

    def watch(self, *, poll_s: float = POLL_S) -> Iterator[dict[str, Any]]:
        """As it stands, again and again, the last time when it has ended."""
        while True:
            view = self.show()
            yield view
            if not view["open"]:
                return
            time.sleep(poll_s)

    def wait(self, *, timeout_s: float | None = None) -> dict[str, Any]:
        """Block until it has ended; TimeoutError after `timeout_s` seconds, while it goes on."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        for view in self.watch():
            if not view["open"]:
                return view
            if until is not None and time.monotonic() > until:
                raise TimeoutError(f"rollout {self.id} is still {view['status']} after {timeout_s} s: {view['counts']}")
        raise AssertionError("watch ends only with a rollout that has ended")

    def judge(self, *, revert: bool = False) -> list[dict[str, Any]]:
        """What its accuracy rules say now that labels have come; with `revert` it is rolled back where one fails."""
        return list(self._transport.post(f"/v1/rollouts/{self.id}/judge", {"revert": revert}))

    def explain(self) -> list[str]:
        """Where it stands and what it waits for, in sentences."""
        return list(self._transport.get(f"/v1/rollouts/{self.id}/explain")["sentences"])

    def approve(self, plan_digest: str) -> dict[str, Any]:
        """Let a proposed rollout start: the second pair of eyes, for the plan that they have seen."""
        return dict(self._transport.post(f"/v1/rollouts/{self.id}/approve", {"plan_digest": plan_digest}))

    def pause(self) -> dict[str, Any]:
        """Stop starting devices; what is under way goes on."""
        return self._steer("pause")

    def resume(self) -> dict[str, Any]:
        """Go on; failures and measurements known by now no longer count."""
        return self._steer("resume")

    def promote(self) -> dict[str, Any]:
        """End the wave now: neither its soak nor a rule that cannot say yet holds it up."""
        return self._steer("promote")

    def abort(self) -> dict[str, Any]:
        """Stop; devices that have confirmed the release keep it, all others are set back."""
        return self._steer("abort")

    def rollback(self) -> dict[str, Any]:
        """Set every touched device back to its last confirmed release."""
        return self._steer("rollback")

    def _steer(self, verb: str) -> dict[str, Any]:
        return dict(self._transport.post(f"/v1/rollouts/{self.id}/{verb}"))


def _device_rows(device: dict[str, Any]) -> list[dict[str, Any]]:
    base = {"device": device["device"], "presence": device["presence"], **device["labels"]}
    rows = []
    for model in device["models"]:
        state = model["state"] or {}
        stable = state.get("stable") or {}
        serving: dict[str, Any] = next((m for m in model["measured"] if m["release"] == stable.get("release")), {})
        rows.append(
            {
                **base,
                "model": model["model"],
                "desired": model["desired_release"],
                "phase": state.get("phase"),
                "stable": stable.get("release"),
                "inferences": serving.get("inferences", 0),
                "accuracy": serving.get("accuracy"),
                "latency_us_p95": serving.get("latency_us_p95"),
            }
        )
    return rows or [{**base, "model": None}]


def _flat(captured: dict[str, Any]) -> dict[str, Any]:
    """Inputs under their own names, what is about the inference with an underscore before it."""
    about = {"id": captured["id"], "device": captured["device"], **captured["row"]}
    inputs: dict[str, Any] = about.pop("inputs")
    return inputs | {f"_{name}": value for name, value in about.items()}


def _frame(rows: list[dict[str, Any]]) -> Any:
    import pandas as pd  # 0.4 s to import: only where a table is meant

    return pd.DataFrame(rows)


def _words(path: Path) -> StickMessages:
    try:
        return decode(path.read_bytes(), StickMessages, max_bytes=2 * MAX_MESSAGES_BYTES)
    except BadInput as error:
        raise BadInput(error.code, f"{path}: {error.detail}") from None
