"""The device follows another controller and keeps its models: a step on the device itself, by its owner.

Decides what is deleted (the old trust, and all that depends on it) and what stays (every model, its record and its
files, sensors, labels). The new configuration is the commit point: until it is in place, the device belongs to its
old controller. A user with write access to these files can do this; no message can. Refuses to know MQTT.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from agent.config import Config
from agent.flash.atomic_file import replace
from agent.flash.store import Store
from agent.trust.enrol import OpenDisk, OpenUrl, certificate_for, read_claim
from agent.trust.keypair import forget_pairs
from agent.trust.renewal import private_key_pem
from contract.errors import BadInput, Code
from contract.toml_config import decode_toml
from contract.toml_edit import with_values

FILES = ("device.key", "device.pem", "ca.pem", "root.json")


def adopt(claim_file: Path, config: Config, config_path: Path, open_disk: OpenDisk, open_url: OpenUrl) -> Path:
    """Exchanges a claim of the new controller for a certificate and makes it this device's controller.

    The caller holds the state directory's lock. Returns the directory of the new credentials. BadInput `claim_refused`,
    `config_invalid`, WorldError `disk_full`, `controller_unreachable`: after each of them the device still belongs to
    its old controller.
    """
    claim = read_claim(claim_file)
    if claim.device != config.device.name:
        words = f"{claim_file} is for {claim.device}, this device is called {config.device.name}"
        raise BadInput(Code.CONFIG_INVALID, words)
    text = config_path.read_text(encoding="utf-8")
    home = _free_directory(config_path.parent.resolve())
    changed = {
        "broker": {
            "url": claim.broker_url,
            "ca_file": str(home / "ca.pem"),
            "cert_file": str(home / "device.pem"),
            "key_file": str(home / "device.key"),
        },
        "trust": {"root_file": str(home / "root.json")},
        "enrolment": {"url": claim.url},
    }
    edited = _checked(with_values(text, changed), config, changed, config_path)
    key = ec.generate_private_key(ec.SECP256R1())
    disk = open_disk(home)
    replace(disk, "device.key", private_key_pem(key))
    answer = certificate_for(claim, key, open_url)
    for name, content in (("device.pem", answer.certificate), ("ca.pem", claim.ca), ("root.json", claim.root)):
        replace(disk, name, content.encode())
    _forget(Store(open_disk(Path(config.device.state_dir))))
    replace(open_disk(config_path.parent), config_path.name, edited.encode())
    forget_pairs(open_disk(Path(config.device.state_dir)))
    return home


def _forget(store: Store) -> None:
    """Deletes the old trust. Records of models stay; their generations are valid only with the old director's keys."""
    record, _ = store.load_device()
    if record is not None:
        store.save_device(msgspec.structs.replace(record, min_releases={}))
    store.forget_trusted()


def _free_directory(parent: Path) -> Path:
    """Returns `controller-2` beside the configuration, or the first such name that is free: old credentials stay
    readable.
    """
    number = 2
    while (parent / f"controller-{number}").exists():
        number += 1
    return parent / f"controller-{number}"


def _checked(edited: str, config: Config, changed: Mapping[str, Mapping[str, str]], path: Path) -> str:
    """Returns the edited text if only the wanted keys differ from the old text; otherwise BadInput names the keys."""
    wanted: dict[str, Any] = msgspec.to_builtins(config)
    for table, values in changed.items():
        wanted[table] = {**wanted[table], **values}
    try:
        found = msgspec.to_builtins(decode_toml(edited, Config, str(path)))
    except (BadInput, tomllib.TOMLDecodeError):
        found = None
    if found != wanted:
        by_hand = "; ".join(f"[{table}] {key}" for table, values in changed.items() for key in values)
        raise BadInput(Code.CONFIG_INVALID, f"{path} cannot be changed by a program: write {by_hand} as plain tables")
    return edited
