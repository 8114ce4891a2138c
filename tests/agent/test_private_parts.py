"""Private parts of libraries on which the agent relies: a part that disappears or changes its shape is noticed."""

import ctypes
import json
import re
import selectors
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest

from agent.adapters import private_parts
from agent.adapters.private_parts import PARTS, faults
from contract.trust import tuf_core

Break = Callable[[pytest.MonkeyPatch], None]
AGENT = Path(__file__).parents[2] / "agent"


def test_the_installed_libraries_have_every_private_part_in_the_expected_shape() -> None:
    assert faults() == []


def publish_is_handled_elsewhere(patch: pytest.MonkeyPatch) -> None:
    patch.delattr(paho.Client, "_handle_publish")


def publish_is_handled_with_the_packet(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(paho.Client, "_handle_publish", lambda self, packet: None)


def packets_lie_elsewhere(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(paho.Client, "_in_packet", property(lambda self: {"header": 0}, lambda self, _: None), raising=False)


def the_thread_has_another_name(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(paho.Client, "_thread", property(_raise, lambda self, _: None), raising=False)


def the_selector_asks_for_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(selectors.DefaultSelector, "select", lambda self, timeout: self._selector.poll(timeout))


def the_selector_asks_the_kernel_itself(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(selectors.DefaultSelector, "select", lambda self, timeout: [])


def another_c_library(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ctypes, "CDLL", lambda _: object())


def a_snapshot_is_never_trusted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tuf_core.TrustedMetadataSet, "update_snapshot", lambda self, data: None)


def delegations_are_gone(patch: pytest.MonkeyPatch) -> None:
    patch.delattr(tuf_core.TrustedMetadataSet, "update_delegated_targets")


def the_envelope_has_another_name(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tuf_core, "EnvelopeType", object())


def _raise(_: Any) -> Any:
    raise AttributeError("_thread")


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (publish_is_handled_elsewhere, "_handle_publish"),
        (publish_is_handled_with_the_packet, "_handle_publish"),
        (packets_lie_elsewhere, "_in_packet"),
        (the_thread_has_another_name, "_thread"),
        (the_selector_asks_for_all, "_selector"),
        (the_selector_asks_the_kernel_itself, "_selector"),
        (another_c_library, "mallopt"),
        (a_snapshot_is_never_trusted, "TrustedMetadataSet"),
        (delegations_are_gone, "TrustedMetadataSet"),
        (the_envelope_has_another_name, "TrustedMetadataSet"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_missing_or_changed_part_is_noticed(damage: Break, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(monkeypatch)
    found = faults()
    assert len(found) == 1
    assert part in found[0]
    assert ".py needs it to" in found[0]


def test_every_part_names_a_file_that_uses_it() -> None:
    for part in PARTS:
        place = AGENT.parent / part.used_in if part.used_in.startswith("contract") else AGENT / part.used_in
        used = re.findall(r"\w+", part.name.replace(" of glibc", ""))
        assert used[-1] in place.read_text(encoding="utf-8")


def test_doctor_reports_what_a_library_no_longer_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from agent import cli

    config = tmp_path / "agent.toml"
    config.write_text(f'[device]\nname = "cam-1"\nstate_dir = "{tmp_path}/state"\n')
    for fault in ("", "poll is gone"):
        changed = private_parts.PrivatePart("selectors", "server.py", "to serve", lambda fault=fault: fault)
        monkeypatch.setattr(private_parts, "PARTS", (changed,))
        cli.run(["doctor", "--json", "-c", str(config)])
        found = {each["check"]: each for each in json.loads(capsys.readouterr().out)}["private parts"]
        assert found["ok"] is not bool(fault)
        assert fault in found["detail"]
