"""Enrolment: a key that never leaves the device, a certificate for that key, and a configuration that uses both.

Decides what is written, and in which order: a certificate is in place before anything refers to it. Asks the controller
over HTTP. Refuses to know MQTT, and how a file becomes durable.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from agent.flash.atomic_file import replace
from agent.ports import Disk
from agent.trust.renewal import certificate_request, private_key_pem
from contract.enrolment import Certificate, Claim, EnrolRequest, RenewRequest
from contract.errors import BadInput, Code, WorldError
from contract.trust.chain import trust_root
from contract.wire import Message, decode, encode

OpenDisk = Callable[[Path], Disk]
"""Opens a directory for files that only their owner may read: keys, and an address that may hold a password."""

OpenUrl = Callable[[urllib.request.Request, float], Any]
"""Opens an address (http, https) and returns the answer, which must be complete within so many seconds."""

HTTP_S = 20.0
"""Seconds for a whole answer: a certificate is 1 kB. A server that sends a byte now and then would hold the first start
of a device, or its renewal, for hours.
"""
MAX_CLAIM_BYTES = 64 * 1024
CERTIFICATE = "device.pem"
_CONFIG = """\
# Written by edgeward-agent enrol.
[device]
name = "{device}"
state_dir = "{state_dir}"
{labels}
[broker]
url = "{broker_url}"
ca_file = "{directory}/ca.pem"
cert_file = "{directory}/device.pem"
key_file = "{directory}/device.key"

[trust]
root_file = "root.json"

[enrolment]
url = "{url}"
"""


def enrol(claim_file: Path, directory: Path, open_disk: OpenDisk, open_url: OpenUrl) -> Path:
    """Makes a key, exchanges the claim for its certificate, writes both and a configuration; returns its path.

    BadInput if there is no claim, if it is used or too old (`claim_refused`), or if the directory already holds a
    device. WorldError `disk_full`, `disk_failed`, `controller_unreachable`.
    """
    claim = read_claim(claim_file)
    disk, home = open_disk(directory), directory.resolve()
    if "agent.toml" in disk.names():
        raise BadInput(Code.CONFIG_INVALID, f"{directory / 'agent.toml'} exists: this directory holds a device already")
    text = _CONFIG.format(
        device=claim.device,
        state_dir=home / "state",
        labels=_labels(claim),
        broker_url=claim.broker_url,
        directory=home,
        url=claim.url,
    )
    _trade(claim, disk, open_url)
    replace(disk, "agent.toml", text.encode())
    return directory / "agent.toml"


def enrol_at_first_start(claim_file: Path, open_disk: OpenDisk, open_url: OpenUrl) -> bool:
    """Exchanges the claim beside a configuration for the certificate, and removes it; False if that was done before.

    Raises BadInput and WorldError as `enrol` does: then the device has no certificate, and the next start tries
    again.
    """
    disk = open_disk(claim_file.parent)
    trades = CERTIFICATE not in disk.names()
    if trades:
        _trade(read_claim(claim_file), disk, open_url)
    if claim_file.name in disk.names():
        disk.delete(claim_file.name)
    return trades


def _trade(claim: Claim, disk: Disk, open_url: OpenUrl) -> None:
    """Makes a key, and writes it and everything that the claim gives; the certificate comes last, as the sign of
    success.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    replace(disk, "device.key", private_key_pem(key))
    answer = certificate_for(claim, key, open_url)
    for name, content in (("root.json", claim.root), ("ca.pem", claim.ca), (CERTIFICATE, answer.certificate)):
        replace(disk, name, content.encode())


def ask_renewal(url: str, asked: RenewRequest, open_url: OpenUrl) -> Certificate:
    """Returns the controller's answer to a renewal. BadInput `claim_refused`, WorldError `controller_unreachable`."""
    return _post(url, "/v1/renew", asked, open_url)


def certificate_for(claim: Claim, key: ec.EllipticCurvePrivateKey, open_url: OpenUrl) -> Certificate:
    """Exchanges a claim for a certificate for this key. BadInput `claim_refused`; WorldError
    `controller_unreachable`.
    """
    asked = EnrolRequest(token=claim.token, csr=certificate_request(key, claim.device))
    return _post(claim.url, "/v1/enrol", asked, open_url)


def read_claim(file: Path) -> Claim:
    """Returns the claim in a file. BadInput `config_invalid`, `message_malformed`."""
    try:
        claim = decode(file.read_bytes(), Claim, max_bytes=MAX_CLAIM_BYTES)
    except OSError as error:
        raise BadInput(Code.CONFIG_INVALID, f"{file}: {error.strerror}") from None
    if urlsplit(claim.url).scheme not in ("http", "https"):
        raise BadInput(Code.CONFIG_INVALID, f"{file}: url {claim.url[:80]!r} is neither http nor https")
    trust_root(claim.root)
    return claim


def _labels(claim: Claim) -> str:
    """Returns labels as a line of TOML; a string has the same form in JSON and TOML."""
    pairs = ", ".join(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in sorted(claim.labels.items()))
    return f"labels = {{ {pairs} }}\n" if pairs else ""


def _post(url: str, path: str, body: Message, open_url: OpenUrl) -> Certificate:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url + path, encode(body), headers)  # noqa: S310 - scheme is checked
    try:
        with open_url(request, HTTP_S) as answer:
            return decode(answer.read(MAX_CLAIM_BYTES), Certificate)
    except urllib.error.HTTPError as error:
        raise _refusal(error) from None
    except (OSError, ValueError) as error:
        raise WorldError(Code.CONTROLLER_UNREACHABLE, f"{url}: {error}") from None


def _refusal(error: urllib.error.HTTPError) -> BadInput:
    try:
        said = json.loads(error.read(MAX_CLAIM_BYTES))
        return BadInput(Code(said["code"]), said["detail"])
    except (OSError, ValueError, KeyError):
        return BadInput(Code.REQUEST_INVALID, f"HTTP {error.code}")
