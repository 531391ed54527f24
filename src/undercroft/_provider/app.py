# SPDX-License-Identifier: Apache-2.0
"""The service over HTTP. `docs/provider.md` shows how it is used.

No secret goes over HTTP in either direction but the API key of whoever asks: content
keys are put in and the signing key is used on the service's own machine only, and
licenses, evidence and updates are made to be seen by anybody.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from undercroft import __version__, bulk
from undercroft._provider import enrolment, licensing, listing, revocation
from undercroft._provider import schemas as form
from undercroft._provider.guards import Guards, handle_refusals, problem_page
from undercroft._provider.page import page_router
from undercroft._provider.problems import MEDIA_TYPE, ProblemError
from undercroft._provider.rates import RateLimiter
from undercroft._provider.security import SCOPES, Caller, authenticate
from undercroft._provider.service import Service
from undercroft.errors import FormatError
from undercroft.license import LicenseTerms

if TYPE_CHECKING:
    from undercroft.keys import DevicePublicKey

MAX_LIST_DEVICES: Final = 2000
_HEX_64: Final = re.compile(r"\b[0-9a-f]{64}\b", re.IGNORECASE)
_DESCRIPTION: Final = """\
Enrols devices by the evidence that they give, and issues, renews and revokes
licenses for them. Every request but `/v1/health` needs an API key with a scope.
Refusals are problem details (RFC 9457). Requests that issue take an
`Idempotency-Key`: sent again with the same one, they lead to the same license.
"""
_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": text,
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}
        },
    }
    for status, text in (
        (400, "malformed"),
        (401, "API key missing or refused"),
        (403, "the API key does not have the scope"),
        (429, "the API key's rate is used up; see Retry-After"),
        (503, "database or key unavailable; see Retry-After"),
    )
}
_bearer = HTTPBearer(auto_error=False, description="an API key, uck_…")
router = APIRouter(prefix="/v1", responses=_REFUSALS)


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(_service)]


def _needs(scope: str) -> Any:  # noqa: ANN401 what Depends returns
    """Have a request come from an API key with a scope, within its rate."""
    assert scope in SCOPES  # noqa: S101 a mistake of ours

    def caller(
        request: Request,
        _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> Caller:
        service: Service = request.app.state.service
        limiter: RateLimiter = request.app.state.limiter
        found = authenticate(service.store, request.headers.get("authorization"))
        limiter.take(found)
        found.needs(scope)
        return found

    return Depends(caller)


Reader = Annotated[Caller, _needs("read")]
Enroller = Annotated[Caller, _needs("enrol")]
Issuer = Annotated[Caller, _needs("issue")]
Revoker = Annotated[Caller, _needs("revoke")]
Auditor = Annotated[Caller, _needs("audit")]
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key")]
Limit = Annotated[int, Query(ge=1, le=500)]
After = Annotated[str | None, Query(max_length=128)]


# ---- the service itself ----


@router.get("/health")
def health(service: TheService) -> form.HealthAnswer:
    """Say whether the database can be reached, and whose licenses these are."""
    service.store.ping()
    return form.HealthAnswer(provider_key_id=service.keyring.public().key_id.hex())


# ---- enrolment ----


@router.post("/challenges", status_code=201)
def new_challenge(service: TheService, _: Enroller) -> form.ChallengeAnswer:
    """Get a challenge that a device is to answer (ATTEST)."""
    nonce, expires_at = enrolment.challenge(service)
    return form.ChallengeAnswer(nonce=nonce.hex(), expires_at=expires_at)


@router.post(
    "/devices",
    status_code=201,
    responses={
        200: {"description": "known before", "model": form.DeviceAnswer},
        409: {"description": "challenge unknown, or device blocked"},
        422: {"description": "the evidence does not verify, or shows too little"},
    },
)
def enrol_device(
    service: TheService, caller: Enroller, body: form.EnrolRequest, response: Response
) -> form.DeviceAnswer:
    """Enrol a device with its answer to a challenge."""
    answer = enrolment.Answer(
        nonce=bytes.fromhex(body.nonce),
        evidence=body.evidence_bytes(),
        endorsement=body.certificate(),
        label=body.label,
    )
    device, is_new = enrolment.enrol(service, caller, answer)
    response.status_code = 201 if is_new else 200
    return form.DeviceAnswer.of(device)


@router.get("/devices")
def list_devices(
    service: TheService, _: Reader, limit: Limit = 100, after: After = None
) -> form.Page[form.DeviceAnswer]:
    """List devices, the newest first."""
    with service.store.read() as session:
        rows, following = listing.devices(session, limit=limit, after=after)
    return form.Page[form.DeviceAnswer](
        items=[form.DeviceAnswer.of(row) for row in rows], next=following
    )


@router.get("/devices/{device_id}")
def show_device(service: TheService, _: Reader, device_id: str) -> form.DeviceAnswer:
    """Show a device."""
    with service.store.read() as session:
        return form.DeviceAnswer.of(listing.find_device(session, device_id))


# ---- models ----


@router.get("/models")
def list_models(service: TheService, _: Reader) -> form.Page[form.ModelAnswer]:
    """List models, by name. They are added on the service's machine."""
    with service.store.read() as session:
        rows = listing.models(session)
    return form.Page[form.ModelAnswer](
        items=[form.ModelAnswer.of(row, count) for row, count in rows]
    )


# ---- licenses ----


@router.post(
    "/licenses",
    status_code=201,
    responses={
        200: {"description": "issued before", "model": form.LicenseAnswer},
        404: {"description": "no such model or device"},
        409: {"description": "there is a current license, or the device is blocked"},
        422: {"description": "the Idempotency-Key was used for another request"},
    },
)
def issue_license(
    service: TheService,
    caller: Issuer,
    body: form.IssueRequest,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> form.LicenseAnswer:
    """Issue a license for a model on a device."""
    row, is_new = licensing.issue(
        service,
        caller,
        model=body.model,
        device_id=body.device_id,
        terms=body.terms.terms(),
        once=form.once(idempotency_key, "issue", body),
    )
    response.status_code = 201 if is_new else 200
    return form.LicenseAnswer.of(row)


@router.post(
    "/licenses/list",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"text/csv": {"schema": {"type": "string"}}},
        }
    },
    responses={422: {"description": "lines with errors, each named"}},
)
async def issue_list(
    request: Request,
    service: TheService,
    caller: Issuer,
    model: Annotated[str, Query(min_length=1, max_length=128)],
    partial: bool = False,
) -> form.ListAnswer:
    """Issue to a list of devices (CSV), all of them or, with errors, none.

    The list is that of `undercroft license issue --devices`; `device` is the id or
    the key of an enrolled device. Devices that have a license keep it.
    """
    text = (await request.body()).decode("utf-8-sig", "replace")
    return await run_in_threadpool(_issue_list, service, caller, model, text, partial)


def _issue_list(
    service: Service, caller: Caller, model: str, text: str, partial: bool
) -> form.ListAnswer:
    rows, problems = _read_list(service, text)
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


def _read_list(
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


@router.get("/licenses")
def list_licenses(
    service: TheService,
    _: Reader,
    model: Annotated[str | None, Query(max_length=128)] = None,
    device_id: Annotated[str | None, Query(max_length=64)] = None,
    state: Literal["current", "superseded", "revoked"] | None = None,
    limit: Limit = 100,
    after: After = None,
) -> form.Page[form.LicenseSummary]:
    """List licenses, the newest first. Those that have expired are current ones."""
    with service.store.read() as session:
        rows, following = listing.licenses(
            session,
            limit=limit,
            after=after,
            model=model,
            device_id=device_id,
            state=state,
        )
    return form.Page[form.LicenseSummary](
        items=[form.LicenseSummary.of(row) for row in rows], next=following
    )


@router.get("/licenses/{license_id}")
def show_license(service: TheService, _: Reader, license_id: str) -> form.LicenseAnswer:
    """Show a license, with its bytes."""
    with service.store.read() as session:
        return form.LicenseAnswer.of(listing.find_license(session, license_id))


@router.get("/licenses/{license_id}/content", response_class=Response)
def license_content(service: TheService, _: Reader, license_id: str) -> Response:
    """Get the license itself, as a device takes it."""
    with service.store.read() as session:
        content = listing.find_license(session, license_id).content
    return Response(content, media_type="application/cwt")


@router.post(
    "/licenses/{license_id}/renew",
    status_code=201,
    responses={
        200: {"description": "renewed before", "model": form.LicenseAnswer},
        404: {"description": "no such license"},
        409: {"description": "superseded or revoked already, or device blocked"},
        422: {"description": "the Idempotency-Key was used for another request"},
    },
)
def renew_license(
    service: TheService,
    caller: Issuer,
    license_id: str,
    response: Response,
    body: form.RenewRequest | None = None,
    idempotency_key: IdempotencyKey = None,
) -> form.LicenseAnswer:
    """Issue a license that takes the place of another one."""
    body = body or form.RenewRequest()
    row, is_new = licensing.renew(
        service,
        caller,
        license_id=license_id,
        terms=body.terms.terms() if body.terms else None,
        once=form.once(idempotency_key, f"renew {license_id}", body),
    )
    response.status_code = 201 if is_new else 200
    return form.LicenseAnswer.of(row)


# ---- revocations ----


@router.post("/revocations", responses={404: {"description": "nothing such"}})
def revoke(
    service: TheService, caller: Revoker, body: form.RevokeRequest
) -> form.RevokedAnswer:
    """Revoke a license, a model on all devices or one, or a device as a whole.

    Devices learn of it by the updates of /v1/updates.
    """
    rows = revocation.revoke(service, caller, body.target(), body.reason)
    return form.RevokedAnswer(
        revocations=[form.RevocationAnswer.of(row) for row in rows]
    )


@router.get("/revocations")
def list_revocations(
    service: TheService, _: Reader, limit: Limit = 100, after: After = None
) -> form.Page[form.RevocationAnswer]:
    """List revocations, the newest first."""
    with service.store.read() as session:
        rows, following = listing.revocations(session, limit=limit, after=after)
    return form.Page[form.RevocationAnswer](
        items=[form.RevocationAnswer.of(row) for row in rows], next=following
    )


@router.get("/updates")
def get_updates(
    service: TheService, _: Reader, device_id: form.DeviceId | None = None
) -> form.UpdatesAnswer:
    """Get the updates that tell devices, or one device, what is revoked."""
    version, updates = revocation.updates(service, device_id)
    return form.UpdatesAnswer(
        version=version, updates=[base64.b64encode(item).decode() for item in updates]
    )


# ---- the audit log ----


@router.get("/audit")
def list_audit(
    service: TheService, _: Auditor, limit: Limit = 100, after: After = None
) -> form.Page[form.AuditAnswer]:
    """List what was done and refused, the newest first."""
    with service.store.read() as session:
        rows, following = listing.audit_entries(session, limit=limit, after=after)
    return form.Page[form.AuditAnswer](
        items=[form.AuditAnswer.of(row) for row in rows], next=following
    )


# ---- the application ----


def create_app(open_service: Callable[[], Service]) -> FastAPI:
    """Make the application.

    Args:
        open_service: opens the service when the application starts; it is closed
            when the application ends.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = open_service()
        app.state.service = service
        app.state.limiter = RateLimiter(service.store)
        yield
        service.close()

    app = FastAPI(
        title="Undercroft license service",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # these pages come from other machines
        redoc_url=None,
    )
    app.add_middleware(Guards)
    handle_refusals(app)
    app.include_router(router)
    app.include_router(page_router())

    @app.get("/problems/{name}", include_in_schema=False)
    def problem(name: str) -> PlainTextResponse:
        return PlainTextResponse(problem_page(name))

    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = describe()
            schemas = schema["components"]["schemas"]
            schemas["ProblemAnswer"] = form.ProblemAnswer.model_json_schema()
            _drop_foreign_refusals(schema)
        return app.openapi_schema or describe()

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _drop_foreign_refusals(schema: dict[str, Any]) -> None:
    """Leave out FastAPI's own form of refusals, which is never sent."""
    refusal = _REFUSALS[400]["content"]
    for operations in schema["paths"].values():
        for operation in operations.values():
            answers = operation["responses"]
            if answers.get("422", {}).get("description") == "Validation Error":
                del answers["422"]
            for status, answer in answers.items():
                if status.startswith(("4", "5")):
                    answer["content"] = refusal
    for name in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(name, None)
