# SPDX-License-Identifier: Apache-2.0
"""Licenses for a list of devices, in one request."""

from __future__ import annotations

import base64
import io
import re
from typing import TYPE_CHECKING, Final

from undercroft import bulk
from undercroft._provider import licensing
from undercroft._provider import schemas as form
from undercroft._provider.problems import ProblemError
from undercroft.errors import FormatError
from undercroft.license import LicenseTerms

if TYPE_CHECKING:
    from undercroft._provider.security import Caller
    from undercroft._provider.service import Service
    from undercroft.keys import DevicePublicKey

MAX_LIST_DEVICES: Final = 2000
_HEX_64: Final = re.compile(r"\b[0-9a-f]{64}\b", re.IGNORECASE)


def issue(
    service: Service, caller: Caller, *, model: str, text: str, partial: bool
) -> form.ListAnswer:
    """Issue to all devices of a list, or, where lines have errors, to none.

    Args:
        service: the service.
        caller: who asks.
        model: name or id.
        text: the list, as `undercroft license issue --devices` takes it.
        partial: issue to the others where lines have errors.

    Raises:
        ProblemError: the list, the model or the caller is refused.
    """
    rows, problems = _read(service, text)
    if problems and not partial:
        raise ProblemError(
            "malformed-list",
            f"{len(problems)} lines have errors and nothing was issued",
            errors=[item.model_dump() for item in problems],
        )
    issued = licensing.issue_many(service, caller, model=model, wanted=rows)
    return form.ListAnswer(
        issued=sum(is_new for _, is_new in issued),
        already=sum(not is_new for _, is_new in issued),
        problems=problems,
        licenses=[
            form.ListedLicense(
                device_id=row.device_id,
                license_id=row.license_id,
                license=base64.b64encode(row.content).decode(),
            )
            for row, _ in issued
        ],
    )


def _read(
    service: Service, text: str
) -> tuple[list[tuple[str, LicenseTerms]], list[form.LineProblem]]:
    names = sorted({name.lower() for name in _HEX_64.findall(text)})
    with service.store.read() as session:
        known = licensing.find_devices(session, names)

    def find(name: str) -> DevicePublicKey:
        key = known.get(name.lower())
        if key is None:
            raise ValueError(f"no device {name[:64]!r} is enrolled")
        return key

    rows: list[tuple[str, LicenseTerms]] = []
    problems: list[form.LineProblem] = []
    try:
        for item in bulk.read_rows(io.StringIO(text, newline=""), "the body", find):
            if isinstance(item, bulk.Problem):
                problems.append(form.LineProblem(line=item.line, detail=item.text))
                continue
            try:
                terms = LicenseTerms(**item.terms)
            except FormatError as error:
                problems.append(form.LineProblem(line=item.line, detail=error.message))
                continue
            rows.append((item.device.device_id.hex(), terms))
    except FormatError as error:
        raise form.malformed("body", f"{error.message}; {error.hint}") from error
    if len(rows) > MAX_LIST_DEVICES:
        raise ProblemError(
            "too-large", f"a list has at most {MAX_LIST_DEVICES} devices"
        )
    return rows, problems
