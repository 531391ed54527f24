# SPDX-License-Identifier: Apache-2.0
"""Sealing a sealed file again, under a fresh content key and without the model.

::

    result = reseal(
        "model.sealed", "model-2.sealed", model_key=old_key, signing_key=key
    )
    print(result.key_file)      # licenses for the new file are made from it

For a content key that leaked, or a provider key that is to be retired: pages are
decrypted with the old content key and encrypted with a new one, page by page. The
model keeps its id and counts its version up, so an update that raises its floor
shuts out the old file on every device that takes it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from undercroft._format.pages import PageCipher, derive_page_key
from undercroft._format.suites import suite_number
from undercroft._spec import SALT_BYTES
from undercroft.errors import FileWriteError, VerificationError
from undercroft.keys import ModelKey, Signer
from undercroft.seal import Progress, SealResult, write_files
from undercroft.sealed import SealedModel

__all__ = ["reseal"]


def reseal(
    sealed: Path | str,
    output: Path | str,
    *,
    model_key: ModelKey,
    signing_key: Signer,
    key_file: Path | str | None = None,
    model_version: int | None = None,
    suite: str | None = None,
    progress: Progress | None = None,
) -> SealResult:
    """Seal a sealed model again under a fresh content key.

    Args:
        sealed: the sealed file of before; it stays as it is.
        output: the new sealed file; replaced when it exists.
        model_key: the key of the file of before.
        signing_key: the provider's key, the same as before or another one.
        key_file: where the new key is written, `OUTPUT.key` without. It must not
            exist: a key that licenses were made from is not overwritten.
        model_version: of the new file; one more than before without.
        suite: another cipher suite; the same without.
        progress: called after each page.

    Raises:
        FileAccessError: the sealed file is missing or unreadable.
        FormatError: it is none, or the version is over 32 bits.
        VerificationError: the key is not that of this file, or a page or the
            signature was changed.
        PlanError: there is no such suite.
        EnvironmentMissingError: the library that does the suite is missing.
        FileWriteError: the disk is full or not writable, or the key file exists;
            nothing was left.
    """
    output = Path(output)
    key_path = Path(key_file) if key_file is not None else _beside(output)
    if key_path.exists():
        # Said before the work; the writing itself does not overwrite it either.
        raise FileWriteError(
            f"{key_path} exists already and is not overwritten",
            hint="name another file for the new key with --key-file",
        )
    with SealedModel.open(sealed) as old:
        before = old.header
        if before.model_id != model_key.model_id:
            raise VerificationError(
                f"the key is of model {model_key.model_id.hex()}, and {sealed} is of "
                f"model {before.model_id.hex()}",
                hint="give the key file that was written beside this sealed file",
            )
        new_key = ModelKey.generate(model_id=before.model_id)
        header = replace(
            before,
            model_version=before.model_version + 1
            if model_version is None
            else model_version,
            suite=before.suite if suite is None else suite_number(suite),
            salt=secrets.token_bytes(SALT_BYTES),
        )
        file_bytes = write_files(
            output,
            header,
            _opened_pages(old, model_key),
            model_key=new_key,
            new_key_file=key_path,
            signing_key=signing_key,
            progress=progress,
        )
    return SealResult(
        path=output,
        file_bytes=file_bytes,
        header=header,
        model_key=new_key,
        key_file=key_path,
    )


def _beside(output: Path) -> Path:
    return output.with_name(f"{output.name}.key")


def _opened_pages(sealed: SealedModel, model_key: ModelKey) -> Iterator[bytes]:
    """Give the plaintext of each page."""
    header = sealed.header
    page_key = derive_page_key(
        content_key=model_key.content_key,
        salt=header.salt,
        header=sealed.header_bytes,
    )
    cipher = PageCipher(header.suite, page_key)
    for index in range(header.page_count):
        try:
            yield cipher.decrypt(index, sealed.page(index))
        except VerificationError as error:
            raise VerificationError(
                f"page {index} does not open with this key",
                hint="give the key file that was written beside this sealed file"
                if index == 0
                else "the file is damaged: get a good copy of it",
            ) from error
