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

_AGAIN_S = 1
"""Seconds after which a store that was away may be asked for again (Retry-After)."""


class Problem(BaseModel):
    """Problem details of RFC 9457: ``title`` is the status's own name, ``detail`` says what would be right."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


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


def tell_problems(app: FastAPI) -> None:
    """Let an application answer with problem details wherever a request fails."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, fault: HTTPException) -> JSONResponse:
        headers = dict(fault.headers or {})
        if fault.status_code == 405:
            headers["Allow"] = ", ".join(sorted(methods_of(app, request.url.path)))
        return problem(fault.status_code, str(fault.detail), headers)

    @app.exception_handler(Exception)
    async def broken(_request: Request, _fault: Exception) -> JSONResponse:
        return problem(500, "an error of the server's own; its log tells more")

    @app.exception_handler(RequestValidationError)
    async def unreadable(_request: Request, fault: RequestValidationError) -> JSONResponse:
        # where and why, without the value: it may be a number of somebody
        return problem(422, "; ".join(said_of(fault)))

    @app.exception_handler(StoreFault)
    async def away(_request: Request, _fault: StoreFault) -> JSONResponse:
        return problem(503, "the store does not answer; ask again", {"Retry-After": str(_AGAIN_S)})

    @app.exception_handler(SessionUnreadable)
    async def damaged(_request: Request, _fault: SessionUnreadable) -> JSONResponse:
        return problem(500, "what the store has of this session cannot be read; ocs audit names it")
