# SPDX-License-Identifier: Apache-2.0
"""The service over HTTP. `docs/provider.md` shows how it is used.

No secret goes over HTTP in either direction but the API key of whoever asks: content
keys are put in and the signing key is used on the service's own machine only, and
licenses, evidence and updates are made to be seen by anybody.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from undercroft import __version__
from undercroft._provider import device_list, enrolment, licensing, listing, revocation
from undercroft._provider import schemas as form
from undercroft._provider.guards import Guards, handle_refusals, problem_page
from undercroft._provider.openapi import REFUSALS, describe_refusals
from undercroft._provider.page import page_router
from undercroft._provider.rates import RateLimiter
from undercroft._provider.security import SCOPES, Caller, authenticate
from undercroft._provider.service import Service

_DESCRIPTION: Final = """\
Enrols devices by the evidence that they give, and issues, renews and revokes
licenses for them. Every request but `/v1/health` needs an API key with a scope.
Refusals are problem details (RFC 9457). Requests that issue take an
`Idempotency-Key`: sent again with the same one, they lead to the same license.
"""
_bearer = HTTPBearer(auto_error=False, description="an API key, uck_…")
router = APIRouter(prefix="/v1", responses=REFUSALS)


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
    return await run_in_threadpool(
        device_list.issue, service, caller, model=model, text=text, partial=partial
    )


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

    describe_refusals(app)
    return app
