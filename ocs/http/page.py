"""The OpenAPI page, where FastAPI alone would say too little or what is not so.

Laws
1. Every operation of a router names the faults that stand around all of them: rates, bodies, methods, the store, and our own.
2. A fault is described under the media type that it is answered in: problem details, below /tmf-api/ the definition's Error.
3. No operation names an answer that it never gives: FastAPI's own body of 422 is none of ours.
"""

from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from ocs.http.audit_log import SAFE
from ocs.http.prepay.errors import ROOT, Error
from ocs.http.problems import Problem

_PROBLEM: Final = "application/problem+json"
_OF_ALL: Final = {
    405: "The path has no such method.",
    429: "Too many requests; Retry-After says when to come again.",
    500: "A fault of the server; what was asked may have been done: ask again with the same id.",
    503: "The store does not answer; ask again.",
}
_OF_BODIES: Final = {
    408: "The body did not come in time.",
    413: "The body is too large.",
    415: "The body is not of the type that is read here.",
}
_FRAMEWORKS: Final = "#/components/schemas/HTTPValidationError"


def describe(router: APIRouter) -> APIRouter:
    """Let a router's operations name the faults that stand around them; what one says itself of a status stays (law 1)."""
    for route in router.routes:
        if isinstance(route, APIRoute):
            codes = _OF_ALL | (_OF_BODIES if (route.methods or set()) - SAFE - {"DELETE"} else {})
            around: dict[int | str, dict[str, Any]] = {
                code: _told(route.path, text) for code, text in codes.items()
            }
            route.responses = around | route.responses
    return router


def _told(path: str, text: str) -> dict[str, Any]:
    if path.startswith(ROOT):
        return {"model": Error, "description": text}
    return {"model": Problem, "description": text, "content": {_PROBLEM: {}}}


def tell_page(app: FastAPI) -> None:
    """Let an application show the page by laws 2 and 3."""
    page = app.openapi

    def told() -> dict[str, Any]:
        if app.openapi_schema is None:
            for path, operations in page()["paths"].items():
                for operation in operations.values():
                    _right(path, operation["responses"])
            for name in ("HTTPValidationError", "ValidationError"):
                page()["components"]["schemas"].pop(name, None)
        return page()

    app.openapi = told  # type: ignore[method-assign]


def _right(path: str, responses: dict[str, Any]) -> None:
    for code, answer in list(responses.items()):
        content = answer.get("content", {})
        schema = content.get("application/json", {}).get("schema", {})
        if schema.get("$ref") == _FRAMEWORKS:
            if path.startswith(ROOT):
                del responses[code]
        elif _PROBLEM in content and not content[_PROBLEM]:
            answer["content"] = {_PROBLEM: content["application/json"]}
