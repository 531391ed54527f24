# SPDX-License-Identifier: Apache-2.0
"""The provider's keys, where the other tools have them: in files and tokens.

Content keys are read when a license is made and not kept in memory or in the
database (`docs/adr/0016-where-the-service-keeps-keys.md`).
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from undercroft._provider.problems import ProblemError
from undercroft.errors import Error, FormatError
from undercroft.keys import ModelKey, ProviderPublicKey, Signer
from undercroft.signers import Ask, open_signer

if TYPE_CHECKING:
    from undercroft._provider.config import Config

RETRY_SECONDS: Final = 10
_MODEL_ID: Final = re.compile(r"[0-9a-f]{32}")

_log = logging.getLogger("undercroft.provider")


class Keyring:
    """The signing key, and the folder of content keys. Safe for several threads."""

    def __init__(self, config: Config, *, ask: Ask | None = None) -> None:
        """Open the signing key.

        Raises:
            Error: as `open_signer`.
        """
        self._folder = config.path(config.model_keys)
        self._signer = open_signer(config.key_uri, ask=ask)
        self._turn = threading.Lock()

    def public(self) -> ProviderPublicKey:
        """Return the provider's public key."""
        return self._signer.public()

    @contextmanager
    def signer(self) -> Iterator[Signer]:
        """Have the signing key for oneself: a token serves one thread at a time.

        Raises:
            ProblemError: `key-unavailable`.
        """
        with self._turn, _translated("the signing key"):
            yield self._signer

    def model_key(self, model_id: str) -> ModelKey:
        """Read the content key of a model.

        Raises:
            ProblemError: `key-unavailable`.
        """
        with _translated(f"the content key of model {model_id}"):
            return self.read(model_id)

    def read(self, model_id: str) -> ModelKey:
        """Read the content key of a model.

        Raises:
            FileAccessError: missing, unreadable, or open to others.
            FormatError: not a model key, or another model's.
        """
        path = model_key_path(self._folder, model_id)
        key = ModelKey.load(path)
        if key.model_id.hex() != model_id:
            raise FormatError(
                f"{path} is the key of another model",
                hint="undercroft provider model add puts it where it belongs",
            )
        return key


def model_key_path(folder: Path, model_id: str) -> Path:
    """Return where the content key of a model is kept."""
    if not _MODEL_ID.fullmatch(model_id):
        raise FormatError(
            f"{model_id!r} is no model id", hint="32 lower-case hexadecimal digits"
        )
    return folder / f"{model_id}.key"


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except ProblemError:
        raise
    except Error as error:
        _log.error("%s cannot be used: %s; %s", what, error.message, error.hint)
        raise ProblemError(
            "key-unavailable",
            f"{what} cannot be used",
            headers={"Retry-After": str(RETRY_SECONDS)},
        ) from error
