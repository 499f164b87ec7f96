"""The daemon's own CA: certificates for the hosts whose CONNECT the proxy opens.

The CA is made at the daemon's first start and lies in its data folder: `ca/ca.pem`, and
`ca/ca.key` that only the daemon's user can read. Clients trust it by hand; nothing trusts it
by itself. It signs a certificate for a host when that is needed; those live in memory, for
some days, all with one key that ends with the process.

Nothing is replaced silently: a CA that is damaged or expired is an error that says what to do,
because with a new one every client that trusts the old would fail.
"""

import contextlib
import datetime as dt
import os
import secrets
import ssl
import stat
import tempfile
from collections import OrderedDict
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from damselfly.clock import wall_s
from damselfly.errors import StorageUnusableError
from damselfly.services.ca_files import certificate_path, key_path
from damselfly.telemetry.log import get_log

CA_DAYS: Final = 3650  # it is trusted by hand, on each client
LEAF_DAYS: Final = 7
LEAF_RENEW_S: Final = 86400.0  # well before it expires
SKEW: Final = dt.timedelta(hours=1)  # clients whose clocks are late
LEAVES_MAX: Final = 1024  # some 50 KiB each; rules name fewer hosts
COMMON_NAME_CHARS_MAX: Final = 64  # RFC 5280; the names that count stand in another field
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

log = get_log()


class OwnCa:
    """A CA and the certificates that it has signed."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self._key = key
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        # {host: (context, when to make a new one)}, the least recently used first.
        self._contexts: OrderedDict[str, tuple[ssl.SSLContext, float]] = OrderedDict()

    @property
    def pem(self) -> str:
        """The certificate as clients take it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, as tools show it."""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    def context_for(self, host: str) -> ssl.SSLContext:
        """Return what answers TLS in the name of a host, by HTTP/1.1."""
        found = self._contexts.get(host)
        if found is None or found[1] < wall_s():
            found = (self._context(host), wall_s() + LEAF_RENEW_S)
            self._contexts[host] = found
        self._contexts.move_to_end(host)
        while len(self._contexts) > LEAVES_MAX:
            self._contexts.popitem(last=False)
        return found[0]

    def _context(self, host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        pem = self._leaf(host).public_bytes(serialization.Encoding.PEM)
        # The library takes files only; this one, 0600, holds no key that outlives the process.
        with tempfile.NamedTemporaryFile(prefix="damselfly-") as file:
            file.write(_key_pem(self._leaf_key) + pem)
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def _leaf(self, host: str) -> x509.Certificate:
        try:
            name: x509.GeneralName = x509.IPAddress(ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        now = _now()
        usages = [ExtendedKeyUsageOID.SERVER_AUTH]
        key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(_named(host[:COMMON_NAME_CHARS_MAX]))
            .issuer_name(self.certificate.subject)
            .public_key(self._leaf_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - SKEW)
            .not_valid_after(
                min(
                    now + dt.timedelta(days=LEAF_DAYS),
                    self.certificate.not_valid_after_utc,
                )
            )
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(key_id, critical=False)
            .sign(self._key, hashes.SHA256())
        )


def load_ca(data: str) -> OwnCa:
    """Return the CA of a data folder.

    Raises:
        StorageUnusableError: There is none, or it is damaged or expired.
    """
    path, key_file = certificate_path(data), key_path(data)
    remedy = f"remove {path.parent} for a new one, which clients have to trust anew"
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        mode = key_file.stat().st_mode
    except FileNotFoundError as exc:
        reason = "it holds no CA; a daemon with a proxy makes one at its first start"
        raise StorageUnusableError(path=data, reason=reason) from exc
    except OSError as exc:
        reason = f"its CA cannot be read: {exc.strerror}"
        raise StorageUnusableError(path=data, reason=reason) from exc
    except (ValueError, TypeError) as exc:
        reason = f"its CA is damaged; {remedy}"
        raise StorageUnusableError(path=data, reason=reason) from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey) or (
        key.public_key() != certificate.public_key()
    ):
        raise StorageUnusableError(path=data, reason=f"its CA's key is of another CA; {remedy}")
    if certificate.not_valid_after_utc < _now():
        raise StorageUnusableError(path=data, reason=f"its CA has expired; {remedy}")
    if mode & OTHERS:
        log.warning("ca_key_was_open_to_others", path=str(key_file))
        with contextlib.suppress(OSError):  # some volumes have no modes
            key_file.chmod(0o600)
    return OwnCa(certificate, key)


def make_ca(data: str) -> None:
    """Make a CA in a data folder that has none.

    Raises:
        StorageUnusableError: It cannot be written.
    """
    path, key_file = certificate_path(data), key_path(data)
    if path.exists():
        return  # the key is written first
    key = ec.generate_private_key(ec.SECP256R1())
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _write(key_file, _key_pem(key), mode=0o600)
        _write(path, _self_signed(key).public_bytes(serialization.Encoding.PEM), mode=0o644)
    except OSError as exc:
        reason = f"its CA cannot be written: {exc.strerror}"
        raise StorageUnusableError(path=data, reason=reason) from exc


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    now = _now()
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    name = _named(f"damselfly proxy CA {secrets.token_hex(4)}")  # each host has its own
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + dt.timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file whole or not at all."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _now() -> dt.datetime:
    return dt.datetime.fromtimestamp(wall_s(), dt.UTC).replace(microsecond=0)
