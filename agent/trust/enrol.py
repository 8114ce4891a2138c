"""Enrolment and renewal: a key that never leaves the device, a certificate for it, and a configuration that uses both.

Decides what is written, and in which order: a certificate is in its place before anything refers to it. Key files are
mode 0600. Talks HTTP to the controller by the standard library; refuses to know MQTT.
"""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.config import Broker, Config
from contract.enrolment import Certificate, Claim, EnrolRequest, RenewRequest
from contract.errors import BadInput, Code, WorldError
from contract.keys import signer_of
from contract.signatures import renewal
from contract.trust.chain import trust_root
from contract.wire import Message, decode, encode

HTTP_S = 20.0
MAX_CLAIM_BYTES = 64 * 1024
_CONFIG = """\
# Written by edgeward-agent enrol.
[device]
name = "{device}"
state_dir = "{state_dir}"

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


def enrol(claim_file: Path, directory: Path) -> Path:
    """Make a key, trade the claim for its certificate, write everything; the configuration's path.

    BadInput: a claim that is none, is used or too old (`claim_refused`); a directory that holds a device already.
    """
    claim = _read_claim(claim_file)
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "agent.toml"
    if config.exists():
        raise BadInput(Code.CONFIG_INVALID, f"{config} exists: this directory holds a device already")
    key = _new_key(directory / "device.key")
    answer = _post(claim.url, "/v1/enrol", EnrolRequest(token=claim.token, csr=_request(key, claim.device)))
    (directory / "root.json").write_text(claim.root, encoding="utf-8")
    (directory / "ca.pem").write_text(claim.ca, encoding="ascii")
    (directory / "device.pem").write_text(answer.certificate, encoding="ascii")
    home = directory.resolve()
    text = _CONFIG.format(
        device=claim.device, state_dir=home / "state", broker_url=claim.broker_url, directory=home, url=claim.url
    )
    config.touch(mode=0o600)  # the broker's address may hold a password
    config.write_text(text, encoding="utf-8")
    return config


def renew(config: Config) -> Path:
    """A new key and its certificate in place of the old ones; the certificate's path. Restart the agent to use it."""
    broker = config.broker
    if not broker.cert_file or not config.enrolment.url:
        raise BadInput(Code.CONFIG_INVALID, "broker.cert_file and enrolment.url: this device was not enrolled")
    certificate, key_file = Path(broker.cert_file), Path(broker.key_file)
    fresh = key_file.with_suffix(".next")
    fresh.unlink(missing_ok=True)
    request = _request(_new_key(fresh), config.device.name)
    signature = signer_of(key_file.read_bytes())(renewal(request))
    asked = RenewRequest(certificate=certificate.read_text(encoding="ascii"), csr=request, signature=signature)
    answer = _post(config.enrolment.url, "/v1/renew", asked)
    _swap(broker, fresh, answer.certificate)
    return certificate


def _swap(broker: Broker, key: Path, certificate: str) -> None:
    """Put both in place; two files cannot change at once, and a cut in between is mended by a new claim."""
    scratch = Path(broker.cert_file).with_suffix(".next-pem")
    scratch.write_text(certificate, encoding="ascii")
    for path in (scratch, key):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    key.replace(broker.key_file)
    scratch.replace(broker.cert_file)


def _read_claim(file: Path) -> Claim:
    try:
        claim = decode(file.read_bytes(), Claim, max_bytes=MAX_CLAIM_BYTES)
    except OSError as error:
        raise BadInput(Code.CONFIG_INVALID, f"{file}: {error.strerror}") from None
    if urlsplit(claim.url).scheme not in ("http", "https"):
        raise BadInput(Code.CONFIG_INVALID, f"{file}: url {claim.url[:80]!r} is neither http nor https")
    trust_root(claim.root)
    return claim


def _new_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    return key


def _request(key: ec.EllipticCurvePrivateKey, device: str) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def _post(url: str, path: str, body: Message) -> Certificate:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url + path, encode(body), headers)  # noqa: S310 - scheme is checked
    try:
        with urllib.request.urlopen(request, timeout=HTTP_S) as answer:  # noqa: S310
            return decode(answer.read(MAX_CLAIM_BYTES), Certificate)
    except urllib.error.HTTPError as error:
        raise _refusal(error) from None
    except (OSError, ValueError) as error:
        raise WorldError(Code.CONTROLLER_UNREACHABLE, f"{url}: {error}") from None


def _refusal(error: urllib.error.HTTPError) -> BadInput:
    try:
        said = json.load(error)
        return BadInput(Code(said["code"]), said["detail"])
    except (ValueError, KeyError):
        return BadInput(Code.REQUEST_INVALID, f"HTTP {error.code}")
