"""What went wrong, as the API tells it: problem details (RFC 9457), never with a value that may be personal."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from ocs.balance.link import StoreFault
from ocs.balance.stored_session import SessionUnreadable
from ocs.http.prepay import errors as tmf

_AGAIN_S = 1
"""Seconds after which a store that was away may be asked for again (Retry-After)."""


class Problem(BaseModel):
    """Problem details of RFC 9457: ``title`` is the status's own name, ``detail`` says what would be right."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


def faults_of(*codes: int, model: type[BaseModel] = Problem) -> dict[int | str, dict[str, Any]]:
    """Describe, for the OpenAPI page, the statuses with which a route answers in problem details."""
    return {code: {"model": model, "content": {"application/problem+json": {}}} for code in codes}


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Build the answer of a request that failed."""
    content = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail).model_dump()
    return JSONResponse(content, status, headers, "application/problem+json")


def said_of(fault: RequestValidationError) -> list[str]:
    """Say what is wrong with a request and where, without the value; of JSON that cannot be read, what ocs/http/exact.py says."""
    said = []
    for each in fault.errors():
        why = each.get("ctx", {}).get("error") if each["type"] == "json_invalid" else None
        said.append(f"{'.'.join(map(str, each['loc']))}: {each['msg']}{f': {why}' if why else ''}")
    return said


def methods_of(app: FastAPI, path: str) -> set[str]:
    """Return all methods that an address knows (RFC 9110 section 10.2.1), whichever of its routes has them."""
    found: set[str] = set()
    for each in getattr(app.state, "addresses", ()):
        if each.path_regex.match(path):
            found |= each.methods or set()
    return found


async def refuse(fault: HTTPException, scope: Any, receive: Any, send: Any) -> None:
    """Answer with a fault as the application would that a request is for; for what stands around it (ASGI)."""
    handler = scope["app"].exception_handlers[HTTPException]
    answer = await handler(Request(scope, receive), fault)
    await answer(scope, receive, send)


def _is_tmf(request: Request) -> bool:
    return request.url.path.startswith(tmf.ROOT)


def _tmf_error(
    status: int, text: str, headers: Mapping[str, str] | None = None, code: str = ""
) -> JSONResponse:
    """Build the answer of a request that failed where TM Forum's definitions hold: their Error body."""
    return JSONResponse(tmf.error_body(status, text, code), status, headers)


def tell_problems(app: FastAPI) -> None:
    """Let an application answer with problem details wherever a request fails; below /tmf-api/ with the Error body of the definitions."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, fault: HTTPException) -> JSONResponse:
        headers = dict(fault.headers or {})
        if fault.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(sorted(methods_of(app, request.url.path)))
        if _is_tmf(request):
            return _tmf_error(fault.status_code, str(fault.detail), headers, getattr(fault, "code", ""))
        return problem(fault.status_code, str(fault.detail), headers)

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, fault: RequestValidationError) -> JSONResponse:
        if _is_tmf(request):  # the definitions have no 422
            return _tmf_error(400, tmf.unreadable(fault.errors()))
        # where and why, without the value: it may be a number of somebody
        return problem(422, "; ".join(said_of(fault)))

    @app.exception_handler(Exception)
    async def broken(
        request: Request, _fault: Exception
    ) -> JSONResponse:  # it is raised again behind this, and logged
        text = "a fault of the server; it may have been done: ask again with the same id"
        return _tmf_error(500, text) if _is_tmf(request) else problem(500, text)

    @app.exception_handler(StoreFault)
    async def away(request: Request, _fault: StoreFault) -> JSONResponse:
        headers = {"Retry-After": str(_AGAIN_S)}
        if _is_tmf(request):
            return _tmf_error(503, "the store does not answer; ask again with the same id", headers)
        return problem(503, "the store does not answer; ask again", headers)

    @app.exception_handler(SessionUnreadable)
    async def damaged(_request: Request, _fault: SessionUnreadable) -> JSONResponse:
        return problem(500, "what the store has of this session cannot be read; ocs audit names it")
