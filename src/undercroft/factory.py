# SPDX-License-Identifier: Apache-2.0
"""The manufacturer's side: an authority, and certificates for devices.

::

    authority = Authority.create("ACME Devices")
    authority.save("acme.key", "acme.pem")
    endorsement = authority.endorse(evidence)       # at production, over a cable

An endorsement is an X.509 certificate for a device's attestation key. It says that
the manufacturer saw the device: make it only where the manufacturer controls the
path to the device and the image that runs on it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from undercroft._format.files import (
    SECRET_MODE,
    read_secret_file,
    read_small_file,
    write_file,
)
from undercroft.attestation import Evidence
from undercroft.errors import FormatError
from undercroft.keys import MANUFACTURER_KEY_MARK, kind_of

__all__ = ["Authority", "load_certificate", "save_certificate"]

_MAX_BYTES: Final = 16384
_YEAR: Final = timedelta(days=365)
AUTHORITY_YEARS: Final = 30
DEVICE_YEARS: Final = 20


class Authority:
    """A manufacturer's Ed25519 key and its certificate."""

    def __init__(
        self, private_key: Ed25519PrivateKey, certificate: x509.Certificate
    ) -> None:
        self._key = private_key
        self.certificate = certificate

    @classmethod
    def create(cls, name: str) -> Self:
        """Make a key and a certificate that it signs itself, for 30 years.

        Raises:
            FormatError: the name is empty or over 64 characters.
        """
        key = Ed25519PrivateKey.generate()
        try:
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        except ValueError as error:
            raise FormatError(
                f"{name!r} is no name for a manufacturer", hint="1 to 64 characters"
            ) from error
        builder = _builder(subject, subject, AUTHORITY_YEARS, key.public_key())
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
            .add_extension(_usage(authority=True), True)
            .sign(key, None)
        )
        return cls(key, certificate)

    def endorse(self, evidence: Evidence) -> x509.Certificate:
        """Return a certificate for a device whose evidence was verified."""
        subject = x509.Name(
            [x509.NameAttribute(NameOID.SERIAL_NUMBER, evidence.device_id.hex())]
        )
        key = Ed25519PublicKey.from_public_bytes(evidence.attestation_key)
        builder = _builder(subject, self.certificate.subject, DEVICE_YEARS, key)
        return (
            builder.add_extension(
                x509.BasicConstraints(ca=False, path_length=None), True
            )
            .add_extension(_usage(authority=False), True)
            .sign(self._key, None)
        )

    def save(self, key_path: Path | str, certificate_path: Path | str) -> None:
        """Write the key, which only its owner can read, and the certificate.

        Raises:
            FileWriteError: the key's file exists, or one cannot be written.
        """
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_file(
            Path(key_path),
            MANUFACTURER_KEY_MARK + pem,
            mode=SECRET_MODE,
            overwrite=False,
        )
        save_certificate(self.certificate, certificate_path)

    @classmethod
    def load(cls, key_path: Path | str, certificate_path: Path | str) -> Self:
        """Read what `save` wrote.

        Raises:
            FileAccessError: missing, unreadable, or a key open to others.
            FormatError: not a key and a certificate that belong together.
        """
        data = read_secret_file(
            Path(key_path), limit_bytes=_MAX_BYTES, what="manufacturer's key"
        )
        certificate = load_certificate(certificate_path)
        try:
            key = load_pem_private_key(data, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if (
            not isinstance(key, Ed25519PrivateKey)
            or key.public_key() != certificate.public_key()
        ):
            kind = kind_of(data)
            found = f": it looks like a {kind}" if kind else ""
            raise FormatError(
                f"{key_path} is not the key of {certificate_path}{found}",
                hint="undercroft factory new makes both",
            )
        return cls(key, certificate)


def load_certificate(path: Path | str) -> x509.Certificate:
    """Read a certificate in PEM.

    Raises:
        FileAccessError: missing or unreadable.
        FormatError: not a certificate.
    """
    data = read_small_file(Path(path), limit_bytes=_MAX_BYTES, what="certificate")
    try:
        return x509.load_pem_x509_certificate(data)
    except ValueError as error:
        raise FormatError(
            f"{path} is no certificate in PEM",
            hint="undercroft factory makes them",
        ) from error


def save_certificate(certificate: x509.Certificate, path: Path | str) -> None:
    """Write a certificate in PEM.

    Raises:
        FileWriteError: it cannot be written.
    """
    write_file(Path(path), certificate.public_bytes(Encoding.PEM))


def _builder(
    subject: x509.Name, issuer: x509.Name, years: int, key: Ed25519PublicKey
) -> x509.CertificateBuilder:
    # A minute back, for clocks that are not quite right.
    begin = datetime.now(UTC) - timedelta(minutes=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + years * _YEAR)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
