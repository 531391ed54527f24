# SPDX-License-Identifier: Apache-2.0
"""What the board has answered before, so that an interrupted measurement goes on.

A measurement that counts instructions gives the same again as long as nothing that
it ran has changed, and takes minutes. Answers are kept in the cache folder under a
key of everything that they depend on.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undercroft._bench.guest import array_of, bytes_of
from undercroft._cache import cache_key
from undercroft._models._files import write_atomically

if TYPE_CHECKING:
    import numpy.typing as npt

    Answer = tuple[dict[str, Any], npt.NDArray[Any]]


class Answers:
    """Answers in a folder."""

    def __init__(self, folder: Path, *, again: bool = False) -> None:
        """Take a folder.

        Args:
            folder: made when first written to.
            again: whether answers that are there are not to be used.
        """
        self._folder = folder
        self._again = again

    def get(self, *key: object) -> Answer | None:
        """Return what was answered, or None."""
        if self._again:
            return None
        stem = self._folder / cache_key(*key)
        with contextlib.suppress(OSError, ValueError):
            document = json.loads(stem.with_suffix(".json").read_text())
            outputs = array_of(stem.with_suffix(".npy").read_bytes())
            return document["answer"], outputs
        return None

    def put(self, answer: Answer, *key: object) -> None:
        """Keep an answer.

        Raises:
            FileWriteError: the folder cannot be written.
        """
        stem = self._folder / cache_key(*key)
        write_atomically(stem.with_suffix(".npy"), bytes_of(answer[1]))
        document = {"key": key, "answer": answer[0]}
        text = json.dumps(document, default=str)
        write_atomically(stem.with_suffix(".json"), text.encode())
