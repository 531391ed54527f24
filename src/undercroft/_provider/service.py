# SPDX-License-Identifier: Apache-2.0
"""What the operations work with: settings, database, keys, policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from undercroft._provider.keyring import Keyring
from undercroft._provider.store import Store
from undercroft.attestation import Policy
from undercroft.errors import FormatError
from undercroft.factory import load_certificate

if TYPE_CHECKING:
    from cryptography import x509

    from undercroft._provider.config import Config
    from undercroft.signers import Ask


@dataclass(frozen=True, slots=True)
class Service:
    """An opened service.

    Attributes:
        config: its settings.
        store: its database.
        keyring: the provider's keys.
        policy: what a device must show.
        manufacturers: certificates of those that are believed.
    """

    config: Config
    store: Store
    keyring: Keyring
    policy: Policy
    manufacturers: list[x509.Certificate]

    @classmethod
    def open(cls, config: Config, *, ask: Ask | None = None) -> Self:
        """Open what the settings name; the database is not reached for yet.

        Args:
            config: the settings.
            ask: asks for the passphrase or PIN of the signing key.

        Raises:
            Error: a key, certificate or setting that cannot be used.
        """
        return cls(
            config=config,
            store=Store(config.database, config.folder),
            keyring=Keyring(config, ask=ask),
            policy=policy_of(config),
            manufacturers=[
                load_certificate(config.path(name)) for name in config.manufacturers
            ],
        )

    def close(self) -> None:
        """Close the database."""
        self.store.close()


def policy_of(config: Config) -> Policy:
    """Return the policy that the settings describe.

    Raises:
        FormatError: a build id that is none.
    """
    try:
        builds = frozenset(bytes.fromhex(text) for text in config.build_ids)
    except ValueError as error:
        raise FormatError(
            f"build_ids: {error}", hint="32 bytes each, in hexadecimal"
        ) from error
    return Policy(
        endorsed=not (config.allow_development or config.allow_unendorsed),
        release=not config.allow_development,
        hardware_key=not config.allow_development,
        build_ids=builds,
        secure_memory_bytes=config.secure_memory_bytes,
    )
