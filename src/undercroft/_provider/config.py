# SPDX-License-Identifier: Apache-2.0
"""The settings of a service: one TOML file that only its owner can read."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Self

from undercroft._format.files import SECRET_MODE, read_secret_file, write_file
from undercroft.errors import FormatError

FILE_NAME: Final = "provider.toml"
DATABASE_NAME: Final = "provider.db"
MODEL_KEYS_NAME: Final = "model-keys"
_MAX_BYTES: Final = 65536
_HEAD: Final = """\
# Settings of the license service (undercroft provider). Paths are relative to this
# file. It may hold the password of the database: only its owner may read it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of a service.

    Attributes:
        key: the provider's signing key: a path, or `pkcs11:...`.
        database: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`.
        model_keys: the folder of content keys, a file a model.
        manufacturers: certificates (PEM) of the manufacturers that are believed.
        build_ids: builds of the Trusted Application that are expected, hexadecimal.
        allow_unendorsed: take devices that no manufacturer vouches for.
        allow_development: take anything that answers; protects nothing.
        secure_memory_bytes: what a device must have for models.
        challenge_seconds: how long a challenge can be answered.
        folder: where the file is; paths are relative to it.
    """

    key: str
    database: str = f"sqlite:///{DATABASE_NAME}"
    model_keys: str = MODEL_KEYS_NAME
    manufacturers: tuple[str, ...] = ()
    build_ids: tuple[str, ...] = ()
    allow_unendorsed: bool = False
    allow_development: bool = False
    secure_memory_bytes: int = 0
    challenge_seconds: int = 300
    folder: Path = Path()

    def path(self, name: str) -> Path:
        """Return a path of the settings as one that can be opened."""
        return self.folder / name

    @property
    def key_uri(self) -> str:
        """The signing key, for `open_signer`."""
        if self.key.startswith("pkcs11:"):
            return self.key
        return str(self.path(self.key.removeprefix("file:")))

    def save(self, path: Path) -> None:
        """Write the file, which must not be there yet.

        Raises:
            FileWriteError: it is there, or cannot be written.
        """
        lines = [
            # A JSON string, number, boolean or list of strings is TOML as well.
            f"{item.name} = {json.dumps(getattr(self, item.name), ensure_ascii=False)}"
            for item in fields(self)
            if item.name != "folder"
        ]
        text = _HEAD + "\n".join(lines) + "\n"
        write_file(path, text.encode(), mode=SECRET_MODE, overwrite=False)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file.

        Raises:
            FileAccessError: missing, unreadable, or open to others.
            FormatError: not such a file; every bad setting is named.
        """
        what = "provider configuration"
        data = read_secret_file(path, limit_bytes=_MAX_BYTES, what=what)
        try:
            values = tomllib.loads(data.decode())
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{path} is not TOML: {error}", hint=_NEW) from error
        problems = [
            *(f"{name} is no setting" for name in values if name not in _TYPES),
            *(
                f"{name} is not {_TYPES[name][1]}"
                for name, value in values.items()
                if name in _TYPES and not _TYPES[name][0](value)
            ),
            *(["key is missing"] if "key" not in values else []),
        ]
        if problems:
            raise FormatError(
                f"{path} has errors: {'; '.join(problems)}",
                hint="mend them; `undercroft provider init` writes one that is right",
            )
        for name in ("manufacturers", "build_ids"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values, folder=path.absolute().parent)


def _is_text(value: Any) -> bool:  # noqa: ANN401 whatever TOML has
    return isinstance(value, str) and value != ""


def _is_list(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, list) and all(map(_is_text, value))


def _is_count(value: Any) -> bool:  # noqa: ANN401
    return type(value) is int and 0 <= value < 1 << 32


def _is_span(value: Any) -> bool:  # noqa: ANN401
    return _is_count(value) and value > 0


def _is_flag(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, bool)


_NEW: Final = "`undercroft provider init` writes such a file"
_TYPES: Final = {
    "key": (_is_text, "text"),
    "database": (_is_text, "text"),
    "model_keys": (_is_text, "text"),
    "manufacturers": (_is_list, "a list of paths"),
    "build_ids": (_is_list, "a list of hexadecimal texts"),
    "allow_unendorsed": (_is_flag, "true or false"),
    "allow_development": (_is_flag, "true or false"),
    "secure_memory_bytes": (_is_count, "a number of bytes"),
    "challenge_seconds": (_is_span, "a number of seconds from 1"),
}
