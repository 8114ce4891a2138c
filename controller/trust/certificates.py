"""Certificates of devices and of the broker: one authority, P-256, short lives, a revocation list.

Decides what a certificate says: the name comes from the claim, never from the request. Time is handed in; keys come
from the directory. Refuses to know which device may have a certificate.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from contract.errors import BadInput, Code
from controller.registry.atomic_file import replace_file
from controller.trust.keys import load_private_key, private_pem, write_secret

AUTHORITY_DAYS, DEVICE_DAYS, SERVICE_DAYS, CRL_DAYS = 3650, 90, 365, 7
CRL_RENEW_DAYS = 1
"""A broker with a list that is past its date refuses every new connection."""
BACKDATE = timedelta(minutes=5)
MAX_CSR_BYTES = 8192
Public = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
Life = tuple[datetime, float]
"""Its beginning, and its number of days."""
RENEW_AT = 2 / 3
"""A fraction of a certificate's life. The last third leaves time to repair the cause if renewal fails."""
_DEVICE_URL = "urn:edgeward:device:"
_CURVES = ("secp256r1", "secp384r1")


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """Signs certificates."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        """The certificate that clients and the broker trust."""
        return pem(self.certificate)

    def issued_device(self, certificate: x509.Certificate) -> str:
        """Returns the device for which this authority has issued a certificate; empty for any other certificate."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return ""
        urls = names.get_values_for_type(x509.UniformResourceIdentifier)
        named = [url.removeprefix(_DEVICE_URL) for url in urls if url.startswith(_DEVICE_URL)]
        return named[0] if len(named) == 1 else ""

    def device(self, name: str, public: Public, now: datetime, days: float | None = None) -> x509.Certificate:
        """A client certificate for a device."""
        days = DEVICE_DAYS if days is None else days
        names = [x509.UniformResourceIdentifier(f"{_DEVICE_URL}{name}")]
        return self._issue(name, public, names, ExtendedKeyUsageOID.CLIENT_AUTH, (now, days))

    def service(self, name: str, public: Public, now: datetime) -> x509.Certificate:
        """A client certificate for a part of the controller."""
        return self._issue(name, public, [], ExtendedKeyUsageOID.CLIENT_AUTH, (now, SERVICE_DAYS))

    def server(self, hosts: Sequence[str], public: Public, now: datetime) -> x509.Certificate:
        """The broker's certificate for these names and addresses."""
        names = [_general_name(host) for host in hosts]
        return self._issue(hosts[0], public, names, ExtendedKeyUsageOID.SERVER_AUTH, (now, SERVICE_DAYS))

    def revocations(self, serials: Iterable[int], number: int, now: datetime) -> bytes:
        """The revocation list in PEM."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - BACKDATE)
            .next_update(now + timedelta(days=CRL_DAYS))
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(_issuer_key(self.key), critical=False)
        )
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def check_revocations(self, raw: bytes, now: datetime) -> None:
        """Raises ValueError unless a broker can use the list: a broken one admits revoked devices."""
        found = x509.load_pem_x509_crl(raw)
        if not found.is_signature_valid(self.key.public_key()) or (found.next_update_utc or now) <= now:
            raise ValueError("not signed by this authority, or out of date")

    def _issue(
        self, name: str, public: Public, names: Sequence[x509.GeneralName], usage: x509.ObjectIdentifier, life: Life
    ) -> x509.Certificate:
        now, days = life
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(_issuer_key(self.key), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def open_pki(directory: Path, now: datetime, name: str = "ca") -> CertificateAuthority:
    """Returns the authority called `name` in `directory`, made there if missing."""
    key_file, certificate_file = directory / f"{name}.key", directory / f"{name}.pem"
    if not key_file.exists():
        write_secret(key_file, private_pem(new_key()))
    key = load_private_key(key_file)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadInput(Code.CONFIG_INVALID, f"{key_file}: not a P-256 key")
    if not certificate_file.exists():  # after a kill, or if it was lost: with the same name and key, chains stay valid
        words = f"edgeward devices{name.removeprefix('ca').replace('-', ' ')}"  # lists are found by their issuer's name
        replace_file(certificate_file, pem(_self_signed(words, key, now)).encode())
    return CertificateAuthority(x509.load_pem_x509_certificate(certificate_file.read_bytes()), key)


def certificate_end(path: Path) -> datetime:
    """When the certificate in a PEM file expires. OSError, ValueError."""
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc


def is_young(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether less than two thirds of its life have passed."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begins <= now < begins + (ends - begins) * RENEW_AT


def names_hosts(certificate: x509.Certificate, hosts: Sequence[str]) -> bool:
    """Whether a server's certificate is for these names and addresses, all of them."""
    if not hosts:
        return True
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return {_general_name(host) for host in hosts} == set(found)


def read_request(text: str) -> Public:
    """Returns the public key of a certificate request whose signature proves that the sender has the private one.

    BadInput `request_invalid`. Names and extensions in the request are ignored.
    """
    try:
        if len(text) > MAX_CSR_BYTES:
            raise ValueError(f"{len(text)} bytes, limit {MAX_CSR_BYTES}")
        request = x509.load_pem_x509_csr(text.encode())
        public = request.public_key()
        if not request.is_signature_valid:
            raise ValueError("its signature does not match its key")
        if isinstance(public, ed25519.Ed25519PublicKey):
            return public
        if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in _CURVES:
            return public
        raise ValueError("use a P-256, P-384 or Ed25519 key")
    except (ValueError, InvalidSignature) as error:
        raise BadInput(Code.REQUEST_INVALID, f"certificate request: {error}"[:200]) from None


def new_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 key: what TPMs and secure elements hold."""
    return ec.generate_private_key(ec.SECP256R1())


def pem(certificate: x509.Certificate) -> str:
    """A certificate in PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _self_signed(name: str, key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _issuer_key(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not signs,
        crl_sign=not signs,
        encipher_only=False,
        decipher_only=False,
    )
