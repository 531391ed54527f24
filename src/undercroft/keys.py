# SPDX-License-Identifier: Apache-2.0
"""Keys of the provider, of models and of devices.

::

    key = ProviderKey.generate()
    key.save("provider.pem")                 # only its owner can read it
    key = ProviderKey.load("provider.pem")
    print(key.public().key_id.hex())

Keys in other places (`pkcs11:`) are in `undercroft.signers`.

Three kinds: a `ProviderKey` signs sealed models and licenses; a `ModelKey` is
the secret that a model's pages are encrypted under, which licenses hand to
devices; a `DevicePublicKey` is what a license is encrypted to.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from undercroft._format import cbor, cose
from undercroft._format.files import (
    SECRET_MODE,
    read_secret_file,
    read_small_file,
    write_file,
)
from undercroft._spec import CONTENT_KEY_BYTES, MODEL_ID_BYTES
from undercroft.errors import FileAccessError, FormatError

__all__ = [
    "DevicePublicKey",
    "ModelKey",
    "ProviderKey",
    "ProviderPublicKey",
    "Signer",
]

PASSPHRASE_VARIABLE: Final = "UNDERCROFT_PASSPHRASE"  # noqa: S105 where it is
_MAX_KEY_FILE_BYTES: Final = 16384
_MAX_PASSPHRASE_BYTES: Final = 1023
_MODEL_KEY_TYPE: Final = "undercroft model key"
_MODEL_KEY_VERSION: Final = 1
MANUFACTURER_KEY_MARK: Final = b"Undercroft manufacturer's key\n"
"""Stands before the PEM of such a key (RFC 7468, section 2: explanatory text), which is
a key like a provider's, and must not be taken for one."""

_KINDS: Final = (
    (MANUFACTURER_KEY_MARK, "manufacturer's key"),
    (b"BEGIN ENCRYPTED PRIVATE KEY", "provider key, protected"),
    (b"BEGIN PRIVATE KEY", "provider key"),
    (b"BEGIN PUBLIC KEY", "public key"),
    (b"BEGIN CERTIFICATE", "certificate"),
    (_MODEL_KEY_TYPE.encode(), "model key"),
)
_PRIVATE_HINT: Final = "make a provider key with `undercroft keys new FILE`"
_PUBLIC_HINT: Final = "`undercroft keys show KEY.pem --public KEY.pub` writes it"


@dataclass(frozen=True, slots=True)
class ProviderPublicKey:
    """A provider's Ed25519 public key.

    Attributes:
        raw: 32 bytes.
    """

    raw: bytes

    def __post_init__(self) -> None:
        cose.exact_bytes(self.raw, cose.PUBLIC_KEY_BYTES, "the provider's key", "x")

    @property
    def key_id(self) -> bytes:
        """COSE Key Thumbprint (RFC 9679, SHA-256), 32 bytes."""
        return cose.key_thumbprint(cose.CRV_ED25519, self.raw)

    def to_cose_key(self) -> bytes:
        """Return the encoded COSE_Key."""
        return cbor.encode(cose.cose_key(cose.CRV_ED25519, self.raw))

    @classmethod
    def from_cose_key(cls, data: bytes) -> Self:
        """Read an encoded COSE_Key.

        Raises:
            FormatError: not a COSE_Key of Ed25519 with kty, crv and x alone.
        """
        what = "the provider's public key"
        return cls(cose.parse_cose_key(cbor.decode(data, what), cose.CRV_ED25519, what))

    def to_pem(self) -> bytes:
        """Return PEM (SubjectPublicKeyInfo), as OpenSSL reads it."""
        key = Ed25519PublicKey.from_public_bytes(self.raw)
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @classmethod
    def from_pem(cls, data: bytes, name: str = "the key") -> Self:
        """Read PEM (SubjectPublicKeyInfo).

        Args:
            data: the PEM.
            name: where it is from, for messages.

        Raises:
            FormatError: not PEM, or another kind of key.
        """
        try:
            key = load_pem_public_key(data)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise _no_key(name, data, "a public key in PEM", _PUBLIC_HINT) from error
        if not isinstance(key, Ed25519PublicKey):
            raise _no_key(name, data, "an Ed25519 public key", _PUBLIC_HINT)
        return cls(key.public_bytes(Encoding.Raw, PublicFormat.Raw))

    def save(self, path: Path | str) -> None:
        """Write PEM to a file that anybody may read.

        Raises:
            FileWriteError: it cannot be written.
        """
        write_file(Path(path), self.to_pem())

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a PEM file.

        Raises:
            FileAccessError: missing or unreadable.
            FormatError: not an Ed25519 public key.
        """
        what = "public key"
        return cls.from_pem(
            read_small_file(Path(path), limit_bytes=_MAX_KEY_FILE_BYTES, what=what),
            str(path),
        )


class Signer(Protocol):
    """Whatever signs as a provider: a `ProviderKey`, or a key in another place."""

    @property
    def key_id(self) -> bytes:
        """COSE Key Thumbprint of the public key, 32 bytes."""
        ...

    def public(self) -> ProviderPublicKey:
        """Return the public half."""
        ...

    def sign_message(self, payload: bytes) -> bytes:
        """Return the COSE_Sign1 of a payload (`spec/undercroft.cddl`)."""
        ...


class ProviderKey:
    """A provider's Ed25519 signing key. Its text form does not show the secret."""

    __slots__ = ("_key", "_public")

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._key = private_key
        self._public = ProviderPublicKey(
            private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        )

    def __repr__(self) -> str:
        return f"ProviderKey({self.key_id.hex()})"

    @classmethod
    def generate(cls) -> Self:
        """Make a new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """Make the key of a 32-byte seed: for tests and conformance vectors.

        Raises:
            FormatError: another length.
        """
        cose.exact_bytes(seed, 32, "the provider's key", "the seed")
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def key_id(self) -> bytes:
        """COSE Key Thumbprint of the public key, 32 bytes."""
        return self.public().key_id

    def public(self) -> ProviderPublicKey:
        """Return the public half."""
        return self._public

    def seed(self) -> bytes:
        """Return the secret itself, 32 bytes: to hand the key to a process of ours."""
        return self._key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())

    def sign_message(self, payload: bytes) -> bytes:
        """Return the COSE_Sign1 of a payload (`spec/undercroft.cddl`)."""
        return cose.sign(payload, public_key=self._public.raw, signer=self._key.sign)

    def save(
        self,
        path: Path | str,
        *,
        passphrase: bytes | None = None,
        overwrite: bool = False,
    ) -> None:
        """Write PEM (PKCS #8) that only its owner can read, atomically.

        Args:
            path: the file.
            passphrase: encrypts the file.
            overwrite: whether an existing file may be replaced. A lost signing
                key cannot be had again.

        Raises:
            FileWriteError: it exists or cannot be written.
        """
        encryption: KeySerializationEncryption = NoEncryption()
        if passphrase is not None:
            if not 1 <= len(passphrase) <= _MAX_PASSPHRASE_BYTES:
                raise FormatError(
                    f"a passphrase has 1 to {_MAX_PASSPHRASE_BYTES} bytes",
                    hint="choose another passphrase",
                )
            encryption = BestAvailableEncryption(passphrase)
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        write_file(Path(path), pem, mode=SECRET_MODE, overwrite=overwrite)

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        passphrase: Callable[[], bytes] | None = None,
    ) -> Self:
        """Read a PEM file.

        Args:
            path: the file.
            passphrase: asked when the file is protected by one.

        Raises:
            FileAccessError: missing, unreadable, open to others than its owner
                (the hint has the command that mends it), or a passphrase that is
                missing or wrong.
            FormatError: not an Ed25519 private key.
        """
        what = "provider key"
        data = read_secret_file(Path(path), limit_bytes=_MAX_KEY_FILE_BYTES, what=what)
        if MANUFACTURER_KEY_MARK in data:
            raise _no_key(path, data, "a provider key", _PRIVATE_HINT)
        protected = b"BEGIN ENCRYPTED PRIVATE KEY" in data
        if protected and passphrase is None:
            raise FileAccessError(
                f"{path} is protected by a passphrase",
                hint=f"give it in {PASSPHRASE_VARIABLE}, or run where you can be asked",
            )
        try:
            key = load_pem_private_key(
                data, password=passphrase() if protected and passphrase else None
            )
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            if protected:
                raise FileAccessError(
                    f"the passphrase does not open {path}", hint="try again"
                ) from error
            raise _no_key(
                path, data, "a private key in PEM (PKCS #8)", _PRIVATE_HINT
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise _no_key(path, data, "an Ed25519 private key", _PRIVATE_HINT)
        return cls(key)


@dataclass(frozen=True, slots=True)
class ModelKey:
    """The secret of a model, the same for all of its versions.

    Attributes:
        model_id: 16 bytes; a license names it.
        content_key: 32 bytes; page keys are derived from it.
    """

    model_id: bytes
    content_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        what = "the model key"
        cose.exact_bytes(self.model_id, MODEL_ID_BYTES, what, "model_id")
        cose.exact_bytes(self.content_key, CONTENT_KEY_BYTES, what, "content_key")

    @classmethod
    def generate(cls, *, model_id: bytes | None = None) -> Self:
        """Make a new key, and an id unless one is given."""
        return cls(
            model_id=model_id or secrets.token_bytes(MODEL_ID_BYTES),
            content_key=secrets.token_bytes(CONTENT_KEY_BYTES),
        )

    def save(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write JSON that only its owner can read, atomically.

        Raises:
            FileWriteError: it exists or cannot be written.
        """
        text = json.dumps(
            {
                "type": _MODEL_KEY_TYPE,
                "version": _MODEL_KEY_VERSION,
                "model_id": self.model_id.hex(),
                "content_key": self.content_key.hex(),
            },
            indent=2,
        )
        data = f"{text}\n".encode()
        write_file(Path(path), data, mode=SECRET_MODE, overwrite=overwrite)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read the file that `seal` wrote.

        Raises:
            FileAccessError: missing, unreadable, or open to others than its
                owner; the hint has the command that mends it.
            FormatError: not a model key.
        """
        path = Path(path)
        what = "model key"
        data = read_secret_file(path, limit_bytes=_MAX_KEY_FILE_BYTES, what=what)
        try:
            value: Any = json.loads(data)
            if (value["type"], value["version"]) != (
                _MODEL_KEY_TYPE,
                _MODEL_KEY_VERSION,
            ):
                raise ValueError("another type or version")
            return cls(
                model_id=bytes.fromhex(value["model_id"]),
                content_key=bytes.fromhex(value["content_key"]),
            )
        except (FormatError, ValueError, KeyError, TypeError, RecursionError):
            # Without the cause, which would show the content of a secret file.
            raise FormatError(
                f"{path} is not a model key",
                hint="`undercroft seal` writes it beside the sealed file",
            ) from None


@dataclass(frozen=True, slots=True)
class DevicePublicKey:
    """A device's X25519 public key.

    Attributes:
        raw: 32 bytes.
    """

    raw: bytes

    def __post_init__(self) -> None:
        cose.exact_bytes(self.raw, cose.PUBLIC_KEY_BYTES, "the device's key", "x")

    @property
    def device_id(self) -> bytes:
        """COSE Key Thumbprint (RFC 9679, SHA-256), 32 bytes."""
        return cose.key_thumbprint(cose.CRV_X25519, self.raw)

    def to_cose_key(self) -> bytes:
        """Return the encoded COSE_Key."""
        return cbor.encode(cose.cose_key(cose.CRV_X25519, self.raw))

    @classmethod
    def from_cose_key(cls, data: bytes) -> Self:
        """Read an encoded COSE_Key.

        Raises:
            FormatError: not a COSE_Key of X25519 with kty, crv and x alone.
        """
        what = "the device's public key"
        return cls(cose.parse_cose_key(cbor.decode(data, what), cose.CRV_X25519, what))


def describe_key_file(path: Path) -> dict[str, Any] | None:
    """Say what kind of key a file holds: `file`, `kind`, `key_id`, `problem`.

    Nothing secret is in it. None for a file that is no key of ours. A key that is
    refused (for its permissions, say) is described with the hint that mends it.
    """
    row: dict[str, Any] = {"file": str(path), "key_id": None, "problem": ""}
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_KEY_FILE_BYTES)
        kind = kind_of(data)
        if kind in {None, "certificate"}:
            return None
        row["kind"] = kind
        if kind == "provider key":
            row["key_id"] = ProviderKey.load(path).key_id.hex()
        elif kind == "public key":
            row["key_id"] = ProviderPublicKey.from_pem(data).key_id.hex()
        elif kind == "model key":
            row["key_id"] = ModelKey.load(path).model_id.hex()
        else:
            read_secret_file(path, limit_bytes=_MAX_KEY_FILE_BYTES, what="key")
    except FileAccessError as error:
        row["problem"] = f"{error.message}; {error.hint}"
    except FormatError:
        return None
    except OSError as error:
        row["kind"] = "unreadable"
        row["problem"] = str(error.strerror)
    return row


def kind_of(data: bytes) -> str | None:
    """Say what a file's content looks like, in words of `undercroft keys list`."""
    return next((kind for mark, kind in _KINDS if mark in data), None)


def _no_key(path: Path | str, data: bytes, expected: str, hint: str) -> FormatError:
    kind = kind_of(data)
    found = f": it looks like a {kind}" if kind else ""
    return FormatError(f"{path} is not {expected}{found}", hint=hint)
