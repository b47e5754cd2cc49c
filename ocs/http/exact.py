"""JSON of requests, read exactly: a number is a Decimal and never a float, and what two readers could read in two ways is refused.

Laws
1. A number with a point or an exponent is a Decimal, digit by digit what stood there: `Decimal` in a pydantic model gets it unrounded.
2. A number is of bounded length and exponent, so that no sum with it is slow; NaN and Infinity are no JSON (RFC 8259 section 6).
3. An object names each member once (RFC 8259 section 4 leaves open which counts); text is UTF-8 without halves of a surrogate pair.
4. A body of another type than the route reads is 415; a refusal comes before the body is read wherever it can.
5. A parameter of the query that the route does not know is refused, and one that is there twice: a filter that is misspelt would show
   everything. A route that takes the Request itself sees to its own.

FastAPI reads a body by `Request.json`, which makes floats. `application` (app.py) gives every router's routes this class; a router that
is built for a test alone says `APIRouter(route_class=ExactRoute)`.
"""

import json
from collections.abc import Callable, Coroutine
from decimal import Decimal
from email.message import Message
from typing import Any, Final

from fastapi import APIRouter, Request, Response, params
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from ocs.api_limits import JSON_EXPONENT_MAX, JSON_NUMBER_CHARS_MAX
from ocs.http.access import Asks
from ocs.http.prepay.errors import ROOT


class ExactRequest(Request):
    """A request whose JSON is read by the laws above."""

    async def json(self) -> Any:
        """Read the body; json.JSONDecodeError says what is wrong with it."""
        if not hasattr(self, "_json"):
            self._json = read_json(await self.body())
        return self._json


def read_json(body: bytes) -> Any:
    """Read a JSON text. Raises json.JSONDecodeError, whose message never repeats a value."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise json.JSONDecodeError("the text is not UTF-8", "", fault.start) from None
    try:
        found = json.loads(
            text,
            parse_float=_decimal,
            parse_int=_integer,
            parse_constant=_constant,
            object_pairs_hook=_object,
        )
        if "\\u" in text:  # the only way in for half of a surrogate pair
            json.dumps(found, ensure_ascii=False, default=str).encode()
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise json.JSONDecodeError("the text is nested too deeply", "", 0) from None
    except UnicodeEncodeError:
        raise json.JSONDecodeError("a text holds half of a surrogate pair", "", 0) from None
    return found


def _decimal(text: str) -> Decimal:
    number = Decimal(text) if len(text) <= JSON_NUMBER_CHARS_MAX else None
    exponent = number.as_tuple().exponent if number is not None else None
    if number is None or not isinstance(exponent, int) or abs(exponent) > JSON_EXPONENT_MAX:
        raise json.JSONDecodeError("a number is too long, or its exponent too great", "", 0)
    return number


def _integer(text: str) -> int:
    if len(text) > JSON_NUMBER_CHARS_MAX:
        raise json.JSONDecodeError("a number is too long", "", 0)
    return int(text)


def _constant(name: str) -> Any:
    raise json.JSONDecodeError(f"{name} is no number in JSON", "", 0)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise json.JSONDecodeError("an object names a member twice", "", 0)
    return found


class ExactRoute(APIRoute):
    """A route that lets its caller in before it reads the body, and reads it exactly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap what FastAPI makes of the route."""
        handle = super().get_route_handler()
        asked = [each for each in _calls(self.dependant) if isinstance(each, Asks)]
        # what a body is read as: nothing where the route has none, or reads it itself
        known = (
            {each.alias for each in _query_of(self.dependant)}
            if self.dependant.request_param_name is None
            else None
        )
        reads_json = self.body_field is not None and not isinstance(self.body_field.field_info, params.Form)

        async def handled(request: Request) -> Response:
            exact = ExactRequest(request.scope, request.receive)
            for each in asked:
                await each.let_in(exact)
            if known is not None:
                _refuse_other_parameters(exact, known)
            if reads_json:
                _refuse_other_types(exact)
            return await handle(exact)

        return handled


def read_exactly(router: APIRouter) -> APIRouter:
    """Let a router's routes be of this kind, whatever it was built with."""
    for route in router.routes:
        if type(route) is APIRoute:
            route.__class__ = ExactRoute  # FastAPI builds the handler anew when the router is included
    return router


_JSON: Final = "application/json"


def _refuse_other_types(request: Request) -> None:
    """Raise 415 for a body that says it is something else than JSON, or says nothing."""
    headers = request.headers
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return
    told = Message()
    told["content-type"] = headers.get("content-type", "text/none")
    kind = told.get_content_type()
    is_json = kind == _JSON or (kind.startswith("application/") and kind.endswith("+json"))
    if not is_json or told.get_content_charset("utf-8").replace("_", "-") not in {"utf-8", "us-ascii"}:
        raise HTTPException(415, f"send {_JSON} in UTF-8", {"Accept": _JSON})


def _refuse_other_parameters(request: Request, known: set[str]) -> None:
    """Raise 422, below /tmf-api/ 400, by law 5; names that are not known are not repeated."""
    named = [name for name, _ in request.query_params.multi_items()]
    status = 400 if request.url.path.startswith(ROOT) else 422
    if set(named) - known:
        there = (
            f"there {'is' if len(known) == 1 else 'are'} {', '.join(sorted(known))}"
            if known
            else "there is none"
        )
        raise HTTPException(status, f"query: a parameter is not known; {there}")
    if len(named) != len(set(named)):
        raise HTTPException(status, "query: a parameter is there twice; name each once")


def _query_of(dependant: Dependant) -> list[Any]:
    """Return the parameters of the query that a route and what it depends on know."""
    found = list(dependant.query_params)
    for each in dependant.dependencies:
        found += _query_of(each)
    return found


def _calls(dependant: Dependant) -> list[Any]:
    """Return what a route depends on, at any depth."""
    found: list[Any] = []
    for each in dependant.dependencies:
        found += [each.call, *_calls(each)]
    return found
