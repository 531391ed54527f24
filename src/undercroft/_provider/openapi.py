# SPDX-License-Identifier: Apache-2.0
"""How the service describes its refusals in OpenAPI: as problem details."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from undercroft._provider.problems import MEDIA_TYPE
from undercroft._provider.schemas import ProblemAnswer

if TYPE_CHECKING:
    from fastapi import FastAPI

REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
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
"""What any request may be answered with."""


def describe_refusals(app: FastAPI) -> None:
    """Have the application's schema name problem details wherever it refuses."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = describe()
            schemas = schema["components"]["schemas"]
            schemas["ProblemAnswer"] = ProblemAnswer.model_json_schema()
            _drop_foreign_refusals(schema)
        return app.openapi_schema or describe()

    app.openapi = openapi  # type: ignore[method-assign]


def _drop_foreign_refusals(schema: dict[str, Any]) -> None:
    """Leave out FastAPI's own form of refusals, which is never sent."""
    refusal = REFUSALS[400]["content"]
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
