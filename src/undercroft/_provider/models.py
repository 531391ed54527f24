# SPDX-License-Identifier: Apache-2.0
"""Adding models: the content key to the folder of keys, the rest to the database."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sqlalchemy import or_, select

from undercroft._provider import audit
from undercroft._provider.keyring import model_key_path
from undercroft._provider.tables import Model
from undercroft.errors import FormatError, InputError
from undercroft.keys import ModelKey

if TYPE_CHECKING:
    from pathlib import Path

    from undercroft._provider.store import Store

MAX_NAME_CHARS: Final = 128


def add(store: Store, folder: Path, key: ModelKey, name: str) -> Model:
    """Add a model. The same one once more changes nothing.

    Args:
        store: the database.
        folder: of content keys.
        key: the model's.
        name: for people and requests.

    Raises:
        InputError: another model has that name, or this one another name; the
            folder has another content key for it.
        FileAccessError: the folder cannot be used.
    """
    if not 1 <= len(name) <= MAX_NAME_CHARS or not name.isprintable():
        raise InputError(f"a name has 1 to {MAX_NAME_CHARS} printable characters")
    model_id = key.model_id.hex()
    with store.write() as session:
        known = session.scalar(
            select(Model).where(or_(Model.model_id == model_id, Model.name == name))
        )
        if known is not None and (known.model_id, known.name) != (model_id, name):
            raise InputError(
                f"there is {known.name!r} with model id {known.model_id}",
                hint="use that name, or another one for this model",
            )
        _keep_key(folder, key)
        if known is not None:
            return known
        row = Model(model_id=model_id, name=name, added_at=int(time.time()))
        session.add(row)
        audit.note(session, None, "model-add", model_id, name=name)
    return row


def _keep_key(folder: Path, key: ModelKey) -> None:
    path = model_key_path(folder, key.model_id.hex())
    if path.exists():
        kept = None
        with suppress(FormatError):
            kept = ModelKey.load(path)
        if kept != key:
            raise InputError(
                f"{path} holds another key for this model",
                hint="a model keeps its content key; seal under a new one to change it",
            )
        return
    key.save(path)
