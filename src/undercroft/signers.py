# SPDX-License-Identifier: Apache-2.0
"""Signing keys by URI: in a file, or in a token that never lets them go.

::

    signer = open_signer("provider.pem")                # or file:provider.pem
    signer = open_signer(
        "pkcs11:token=undercroft;object=provider?module-path=/usr/lib/.../libsofthsm2.so",
        ask=lambda what: getpass(what).encode(),
    )
    uc.seal("model.onnx", "model.sealed", plan=plan, signing_key=signer)

`pkcs11:` is RFC 7512 with the attributes `token`, `object`, `id`, `module-path` and
`pin-source=file:PATH`. It needs `python-pkcs11`: pip install undercroft[pkcs11].
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, unquote_to_bytes

from undercroft._format import cose
from undercroft._format.files import read_secret_file
from undercroft.errors import EnvironmentMissingError, FormatError, SigningError
from undercroft.keys import ProviderKey, ProviderPublicKey, Signer

__all__ = ["Ask", "Pkcs11Signer", "open_signer"]

Ask = Callable[[str], bytes]
"""Asks a person for a secret, given what it is for."""

MODULE_VARIABLE: Final = "UNDERCROFT_PKCS11_MODULE"
_MAX_PIN_BYTES: Final = 256
_ATTRIBUTES: Final = frozenset({"token", "object", "id"})
_QUERY: Final = frozenset({"module-path", "pin-source"})
_EXAMPLE: Final = (
    "pkcs11:token=NAME;object=LABEL?module-path=/path/to/module.so&pin-source=file:PATH"
)


def open_signer(uri: str, *, ask: Ask | None = None) -> Signer:
    """Return the signing key that a URI names.

    Args:
        uri: a path, `file:PATH`, or `pkcs11:...`.
        ask: asks for a passphrase or PIN where one is needed and not given
            otherwise.

    Raises:
        FileAccessError: the file is missing, unreadable, open to others, or its
            passphrase is missing or wrong.
        FormatError: not a key, or a malformed URI.
        SigningError: the token does not have the key or refuses.
        EnvironmentMissingError: `pkcs11:` without its package or module.
    """
    if uri.startswith("pkcs11:"):
        return Pkcs11Signer(uri, ask=ask)
    path = Path(uri.removeprefix("file:"))
    return ProviderKey.load(
        path, passphrase=(lambda: ask(f"passphrase of {path}")) if ask else None
    )


class Pkcs11Signer:
    """An Ed25519 key in a PKCS #11 token. Not safe for several threads at once."""

    def __init__(self, uri: str, *, ask: Ask | None = None) -> None:
        """Log in and find the key; see `open_signer`."""
        attributes, query = _parse(uri)
        self._uri = uri.partition("?")[0]
        module = query.get("module-path") or os.environ.get(MODULE_VARIABLE)
        if not module:
            raise FormatError(
                f"{self._uri} names no module",
                hint=f"add ?module-path=..., or set {MODULE_VARIABLE}",
            )
        try:
            import pkcs11
        except ImportError as error:
            raise EnvironmentMissingError(
                "keys in tokens need python-pkcs11",
                hint="pip install 'undercroft[pkcs11]'",
            ) from error
        self._mechanism = pkcs11.Mechanism.EDDSA
        pin = _pin(self._uri, query, ask)
        try:
            token = pkcs11.lib(module).get_token(
                token_label=unquote(attributes["token"])
            )
            try:
                self._session = token.open(user_pin=pin)
            except pkcs11.UserAlreadyLoggedIn:
                # By another signer of this process: a login is the token's.
                self._session = token.open()
        except pkcs11.PKCS11Error as error:
            raise self._refused(error) from error
        except (RuntimeError, OSError) as error:
            raise EnvironmentMissingError(
                f"the PKCS #11 module {module} cannot be loaded: {error}",
                hint="check its path, and that it is of this machine's kind",
            ) from error
        try:
            self._key, self._public = self._find(attributes)
        except BaseException:
            self._session.close()
            raise

    @property
    def key_id(self) -> bytes:
        """COSE Key Thumbprint of the public key, 32 bytes."""
        return self._public.key_id

    def public(self) -> ProviderPublicKey:
        """Return the public half."""
        return self._public

    def sign_message(self, payload: bytes) -> bytes:
        """Return the COSE_Sign1 of a payload.

        Raises:
            SigningError: the token refuses.
        """
        return cose.sign(payload, public_key=self._public.raw, signer=self._sign)

    def close(self) -> None:
        """Log out."""
        self._session.close()

    def _sign(self, message: bytes) -> bytes:
        import pkcs11

        try:
            signature = bytes(self._key.sign(message, mechanism=self._mechanism))
        except pkcs11.PKCS11Error as error:
            raise self._refused(error) from error
        if len(signature) != cose.SIGNATURE_BYTES:
            raise SigningError(
                f"{self._uri} gave a signature of {len(signature)} bytes",
                hint="use an Ed25519 key",
            )
        return signature

    def _find(self, named: dict[str, str]) -> tuple[Any, ProviderPublicKey]:
        import pkcs11
        from pkcs11 import Attribute, ObjectClass

        wanted: dict[Any, Any] = {Attribute.KEY_TYPE: pkcs11.KeyType.EC_EDWARDS}
        if "object" in named:
            wanted[Attribute.LABEL] = unquote(named["object"])
        if "id" in named:
            wanted[Attribute.ID] = unquote_to_bytes(named["id"])
        found = []
        try:
            for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
                keys = list(
                    self._session.get_objects({Attribute.CLASS: kind, **wanted})
                )
                if len(keys) != 1:
                    raise SigningError(
                        f"{self._uri} names {len(keys)} Ed25519 keys of class "
                        f"{kind.name.lower()}, not one",
                        hint="name one by object= or id=; private and public key "
                        "need the same label or id",
                    )
                found.append(keys[0])
            point = bytes(found[1][Attribute.EC_POINT])
        except pkcs11.PKCS11Error as error:
            raise self._refused(error) from error
        # The point alone, or in an OCTET STRING, as tokens differ.
        if len(point) not in {cose.PUBLIC_KEY_BYTES, cose.PUBLIC_KEY_BYTES + 2}:
            raise SigningError(f"{self._uri} is no Ed25519 key", hint="name another")
        return found[0], ProviderPublicKey(point[-cose.PUBLIC_KEY_BYTES :])

    def _refused(self, error: Exception) -> SigningError:
        name = type(error).__name__
        text = f"{name}: {error}" if str(error) else name
        return SigningError(
            f"{self._uri}: the token refuses ({text})",
            hint="check the token's name and the PIN",
        )


def _parse(uri: str) -> tuple[dict[str, str], dict[str, str]]:
    path, _, query = uri.removeprefix("pkcs11:").partition("?")
    parts = []
    for text, separator, known in ((path, ";", _ATTRIBUTES), (query, "&", _QUERY)):
        pairs = [part.partition("=") for part in text.split(separator) if part]
        fields = {name: value for name, equals, value in pairs if equals}
        unknown = {name for name, _, _ in pairs} - known
        if unknown or len(fields) != len(pairs):
            raise FormatError(
                f"not a PKCS #11 URI that can be used here: pkcs11:{path}",
                hint=f"write {_EXAMPLE}",
            )
        parts.append(fields)
    if "token" not in parts[0] or not parts[0].keys() & {"object", "id"}:
        raise FormatError(
            f"pkcs11:{path} does not name a token and a key", hint=f"write {_EXAMPLE}"
        )
    parts[1] = {name: unquote(value) for name, value in parts[1].items()}
    return parts[0], parts[1]


def _pin(uri: str, query: dict[str, str], ask: Ask | None) -> str:
    source = query.get("pin-source")
    if source is not None:
        data = read_secret_file(
            Path(source.removeprefix("file:")),
            limit_bytes=_MAX_PIN_BYTES,
            what="PIN",
        ).rstrip(b"\r\n")
    elif ask is not None:
        data = ask(f"PIN of {uri}")
    else:
        raise FormatError(
            f"{uri} needs a PIN", hint="add &pin-source=file:PATH, a file with the PIN"
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FormatError("the PIN is not text", hint="check the PIN's file") from error
