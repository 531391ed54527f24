# SPDX-License-Identifier: Apache-2.0
"""COSE as `spec/undercroft.cddl` narrows it down.

Form is checked here, strictly, with nothing but the CBOR library; what verifies and
opens is the `cwt` library's, HPKE to a device `pyhpke`'s. They are loaded when they are
used, so that sealed files can be read where there is no cryptography.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import cbor2

from undercroft._format import cbor
from undercroft._spec import (
    CONTENT_KEY_BYTES,
    FIRST_EXTENSION_KEY,
    KEY_ID_BYTES,
    LAST_EXTENSION_KEY,
    MAX_EXTENSION_BYTES,
    MAX_EXTENSIONS,
)
from undercroft.errors import FormatError, VerificationError

if TYPE_CHECKING:
    from cwt.cose_key_interface import COSEKeyInterface
    from pyhpke import CipherSuite

# RFC 9052, RFC 9053 and RFC 9528.
_LABEL_ALG, _LABEL_KID, _LABEL_KCCS, _LABEL_EK = 1, 4, 14, -4
_ALG_EDDSA: Final = -8
_ALG_HPKE_3: Final = 41
_CLAIM_CNF, _CONFIRM_COSE_KEY = 8, 1
_KTY, _KTY_OKP, _CRV, _X, _D = 1, 1, -1, -2, -4
_KEY_KID, _KEY_ALG = 2, 3
CRV_X25519: Final = 4
CRV_ED25519: Final = 6
_TAG_ENCRYPT0: Final = 16
_TAG_SIGN1: Final = 18

PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
_WRAPPED_BYTES: Final = CONTENT_KEY_BYTES + 16

Extensions: TypeAlias = tuple[tuple[int, bytes], ...]
"""Keys and values that this version does not know and keeps, in their order."""

_ASK_AGAIN: Final = "get the file and the license again from the provider"


def cose_key(crv: int, public_key: bytes) -> dict[int, Any]:
    """Return the COSE_Key of a raw X25519 or Ed25519 public key."""
    return {_KTY: _KTY_OKP, _CRV: crv, _X: public_key}


def key_thumbprint(crv: int, public_key: bytes) -> bytes:
    """Return the COSE Key Thumbprint (RFC 9679, SHA-256), 32 bytes."""
    return hashlib.sha256(cbor.encode(cose_key(crv, public_key))).digest()


def parse_cose_key(value: object, crv: int, what: str) -> bytes:
    """Return the raw public key of a decoded COSE_Key.

    Raises:
        FormatError: another kind of key, or members that do not belong there.
    """
    if not isinstance(value, dict) or list(value) != [_KTY, _CRV, _X]:
        raise malformed(what, "no COSE_Key of kty, crv and x alone")
    if value[_KTY] != _KTY_OKP or value[_CRV] != crv:
        name = {CRV_X25519: "X25519", CRV_ED25519: "Ed25519"}[crv]
        raise malformed(what, f"not an {name} key")
    return exact_bytes(value[_X], PUBLIC_KEY_BYTES, what, "x")


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A well-formed COSE_Sign1 by a provider; not verified unless it says so.

    Attributes:
        bucket: the protected bucket, encoded.
        payload: what is signed.
        signature: 64 bytes.
        key_id: `kid` as claimed, 32 bytes.
        provider_key: the raw Ed25519 public key as claimed, 32 bytes.
    """

    bucket: bytes
    payload: bytes
    signature: bytes
    key_id: bytes
    provider_key: bytes

    @classmethod
    def parse(cls, data: bytes, what: str) -> Self:
        """Check the form of a COSE_Sign1.

        Raises:
            FormatError: it is not as `spec/undercroft.cddl` says.
        """
        message = cbor.decode(data, what)
        if not isinstance(message, list) or len(message) != 4:
            raise malformed(what, "no COSE_Sign1")
        bucket, unprotected, payload, signature = message
        if unprotected != {} or not isinstance(unprotected, dict):
            raise malformed(what, "an unprotected bucket that is not empty")
        if not isinstance(bucket, bytes) or not isinstance(payload, bytes):
            raise malformed(what, "no COSE_Sign1")
        exact_bytes(signature, SIGNATURE_BYTES, what, "the signature")
        headers = exact_map(
            cbor.decode(bucket, f"the protected bucket of {what}"),
            (_LABEL_ALG, _LABEL_KID, _LABEL_KCCS),
            what,
        )
        if headers[_LABEL_ALG] != _ALG_EDDSA:
            raise malformed(what, "another signature algorithm than EdDSA")
        claims = exact_map(headers[_LABEL_KCCS], (_CLAIM_CNF,), what)
        confirmation = exact_map(claims[_CLAIM_CNF], (_CONFIRM_COSE_KEY,), what)
        return cls(
            bucket=bucket,
            payload=payload,
            signature=signature,
            key_id=exact_bytes(headers[_LABEL_KID], KEY_ID_BYTES, what, "kid"),
            provider_key=parse_cose_key(
                confirmation[_CONFIRM_COSE_KEY], CRV_ED25519, what
            ),
        )

    def verify(self, what: str) -> None:
        """Verify that the key id belongs to the key and the signature is by it.

        Whether that key is anybody's is for the caller to know.

        Raises:
            VerificationError: it does not verify.
        """
        from cwt import COSE
        from cwt.exceptions import CWTError

        thumbprint = key_thumbprint(CRV_ED25519, self.provider_key)
        key = cose_key(CRV_ED25519, self.provider_key)
        failure: Exception | None = None
        if hmac.compare_digest(thumbprint, self.key_id):
            try:
                COSE.new().decode(
                    _tagged(
                        _TAG_SIGN1, [self.bucket, {}, self.payload, self.signature]
                    ),
                    keys=[_cwt_key({**key, _KEY_KID: self.key_id})],
                )
            except (CWTError, ValueError) as error:
                failure = error
            else:
                return
        raise VerificationError(
            f"{what} does not verify against the provider key it names",
            hint=_ASK_AGAIN,
        ) from failure


def sign(
    payload: bytes, *, public_key: bytes, signer: Callable[[bytes], bytes]
) -> bytes:
    """Return the untagged COSE_Sign1 of a payload.

    Args:
        payload: what to sign.
        public_key: the raw Ed25519 public key, 32 bytes.
        signer: returns the signature (64 bytes) of what it gets, by that key.
    """
    bucket = _provider_bucket(public_key)
    # RFC 9052, section 4.4: the Sig_structure, without external data.
    signature = signer(cbor.encode(["Signature1", bucket, b"", payload]))
    return cbor.encode([bucket, {}, payload, signature])


@lru_cache(maxsize=8)
def _provider_bucket(public_key: bytes) -> bytes:
    """The protected bucket is the same for all that a provider signs."""
    return cbor.encode(
        {
            _LABEL_ALG: _ALG_EDDSA,
            _LABEL_KID: key_thumbprint(CRV_ED25519, public_key),
            _LABEL_KCCS: {
                _CLAIM_CNF: {_CONFIRM_COSE_KEY: cose_key(CRV_ED25519, public_key)}
            },
        }
    )


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A well-formed COSE_Encrypt0 with a content key, by HPKE to one device.

    Attributes:
        encapsulated_key: `ek`, 32 bytes.
        ciphertext: the encrypted content key and its tag, 48 bytes.
    """

    encapsulated_key: bytes
    ciphertext: bytes

    @classmethod
    def parse(cls, data: bytes, what: str) -> Self:
        """Check the form of a COSE_Encrypt0.

        Raises:
            FormatError: it is not as `spec/undercroft.cddl` says.
        """
        message = cbor.decode(data, what)
        if not isinstance(message, list) or len(message) != 3:
            raise malformed(what, "no COSE_Encrypt0")
        bucket, unprotected, ciphertext = message
        if bucket != _hpke_bucket():
            raise malformed(what, "another algorithm than HPKE-3")
        unprotected = exact_map(unprotected, (_LABEL_EK,), what)
        return cls(
            encapsulated_key=exact_bytes(
                unprotected[_LABEL_EK], PUBLIC_KEY_BYTES, what, "ek"
            ),
            ciphertext=exact_bytes(ciphertext, _WRAPPED_BYTES, what, "ciphertext"),
        )


def wrap_key(content_key: bytes, *, device_key: bytes) -> bytes:
    """Encrypt a content key to a device by HPKE.

    Args:
        content_key: 32 bytes.
        device_key: the device's raw X25519 public key, 32 bytes.

    Raises:
        VerificationError: the device's key is not a usable X25519 key.
    """
    # Not by cwt, which takes three times as long: a provider issues licenses by
    # the hundred thousand. The tests open them with cwt.
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
    from pyhpke import KEMKey
    from pyhpke.exceptions import PyHPKEError

    bucket = _hpke_bucket()
    try:
        encapsulated, context = hpke_suite().create_sender_context(
            KEMKey.from_pyca_cryptography_key(
                X25519PublicKey.from_public_bytes(device_key)
            )
        )
        # RFC 9052, section 5.3: the Enc_structure, without external data.
        aad = cbor.encode(["Encrypt0", bucket, b""])
        ciphertext = context.seal(content_key, aad=aad)
    except (PyHPKEError, ValueError) as error:
        raise VerificationError(
            "the device's public key cannot be encrypted to",
            hint="enroll the device again",
        ) from error
    return cbor.encode([bucket, {_LABEL_EK: encapsulated}, ciphertext])


@lru_cache(maxsize=1)
def hpke_suite() -> CipherSuite:
    """Return DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM of RFC 9180."""
    from pyhpke import AEADId, CipherSuite, KDFId, KEMId

    return CipherSuite.new(
        KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES128_GCM
    )


def unwrap_key(wrapped: WrappedKey, *, private_key: bytes, public_key: bytes) -> bytes:
    """Open a wrapped content key, as the device does; for tests and tools.

    Raises:
        VerificationError: it is not for this key, or was changed.
    """
    from cwt import COSE
    from cwt.exceptions import CWTError

    key = {
        **cose_key(CRV_X25519, public_key),
        _KEY_ALG: _ALG_HPKE_3,
        _D: private_key,
    }
    value = [
        _hpke_bucket(),
        {_LABEL_EK: wrapped.encapsulated_key},
        wrapped.ciphertext,
    ]
    try:
        content_key = COSE.new().decode(
            _tagged(_TAG_ENCRYPT0, value), keys=[_cwt_key(key)]
        )
    except (CWTError, ValueError) as error:
        raise VerificationError(
            "the wrapped content key does not open with this device key",
            hint="ask the provider for a license for this device",
        ) from error
    return bytes(content_key)


def malformed(what: str, detail: str) -> FormatError:
    """Say that something is not as the specification has it."""
    return FormatError(f"{what} is malformed: {detail}", hint=_ASK_AGAIN)


def exact_map(value: object, keys: tuple[int, ...], what: str) -> dict[int, Any]:
    """Return a decoded map that has exactly these keys.

    Raises:
        FormatError: no map, or other keys.
    """
    if not isinstance(value, dict) or set(value) != set(keys):
        raise malformed(what, f"no map with the keys {', '.join(map(str, keys))}")
    return value


def some_map(
    value: object, needed: tuple[int, ...], optional: tuple[int, ...], what: str
) -> dict[int, Any]:
    """Return a decoded map that has the needed keys and no others than optional ones.

    Raises:
        FormatError: no map, a key is missing, or another one is there.
    """
    if not isinstance(value, dict):
        raise malformed(what, "no map")
    missing = set(needed) - set(value)
    unknown = set(value) - set(needed) - set(optional)
    if missing or unknown:
        keys = ", ".join(map(str, sorted(missing or unknown)))
        raise malformed(what, f"{'without' if missing else 'with unknown'} keys {keys}")
    return value


def extensible_map(
    value: object, needed: tuple[int, ...], optional: tuple[int, ...], what: str
) -> tuple[dict[int, Any], Extensions]:
    """Take a decoded map apart into what `some_map` allows, and its extensions.

    Extensions are the entries that a reader which does not know them keeps and
    does not look at: `spec/license.md`, section Extensions.

    Raises:
        FormatError: see `some_map` and `check_extensions`.
    """
    if not isinstance(value, dict):
        raise malformed(what, "no map")
    extensions = tuple(item for item in value.items() if _is_extension(item[0]))
    known = {key: item for key, item in value.items() if not _is_extension(key)}
    return some_map(known, needed, optional, what), check_extensions(extensions, what)


def check_extensions(extensions: Extensions, what: str) -> Extensions:
    """Return extensions that are as `spec/license.md` says.

    Raises:
        FormatError: too many, a key twice or outside the range, or a value that is
            no byte string or too long.
    """
    if len(extensions) > MAX_EXTENSIONS:
        raise malformed(
            what, f"{len(extensions)} extensions, more than {MAX_EXTENSIONS}"
        )
    keys = [key for key, _ in extensions]
    if len(set(keys)) != len(keys) or not all(map(_is_extension, keys)):
        raise malformed(what, f"extensions with the keys {keys}")
    for key, value in extensions:
        if not isinstance(value, bytes) or len(value) > MAX_EXTENSION_BYTES:
            raise malformed(
                what,
                f"extension {key} is no byte string of up to "
                f"{MAX_EXTENSION_BYTES} bytes",
            )
    return extensions


def show_extensions(extensions: Extensions) -> dict[str, str]:
    """Return extensions ready for JSON: their values in hexadecimal."""
    return {str(key): value.hex() for key, value in extensions}


def _is_extension(key: int) -> bool:
    return LAST_EXTENSION_KEY <= key <= FIRST_EXTENSION_KEY


def exact_bytes(value: object, length: int, what: str, name: str) -> bytes:
    """Return a decoded byte string of exactly this length.

    Raises:
        FormatError: another type or length.
    """
    if not isinstance(value, bytes) or len(value) != length:
        raise malformed(what, f"{name} is not {length} bytes")
    return value


def uint32(value: object, what: str, name: str) -> int:
    """Return a decoded unsigned integer of at most 32 bits.

    Raises:
        FormatError: another type or size.
    """
    if not isinstance(value, int) or not 0 <= value < 2**32:
        raise malformed(what, f"{name} is not an unsigned 32-bit number")
    return value


def _hpke_bucket() -> bytes:
    return cbor.encode({_LABEL_ALG: _ALG_HPKE_3})


def _tagged(tag: int, value: list[Any]) -> cbor2.CBORTag:
    return cbor2.CBORTag(tag, value)


def _cwt_key(key: dict[int, Any]) -> COSEKeyInterface:
    from cwt import COSEKey

    return COSEKey.new(key)
