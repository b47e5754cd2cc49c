"""What the OpenAPI page says of every operation of this room: parameters of lists, faults, headers, examples."""

from typing import Any, Final

from pydantic import BaseModel

from ocs.api_limits import TMF_PAGE, TMF_PAGE_MAX
from ocs.http.prepay.errors import Error

_FAULTS: Final = {
    400: "The request cannot be done as it is written; `message` says what is wrong, where, and what would be right.",
    401: "No credentials, or none that are valid.",
    403: "The caller may not do this, or acts for another channel.",
    404: "There is none of this id.",
    405: "The path has no such method.",
    408: "The body did not come in time.",
    409: "It was not done: the id has other content, or the state, the balance or a limit does not allow it.",
    413: "The body is too large.",
    415: "The body is not JSON in UTF-8.",
    429: "Too many requests; Retry-After says when to come again.",
    500: "A fault of the server; what was asked may have been done: ask again with the same id.",
    503: "The store does not answer; ask again with the same id.",
}


def faults(*left_out: int) -> dict[int | str, dict[str, Any]]:
    """Return the documented faults of an operation, without those that it cannot have."""
    return {
        code: {"model": Error, "description": text} for code, text in _FAULTS.items() if code not in left_out
    }


_COUNTS: Final = {
    "X-Total-Count": {"description": "How many fit.", "schema": {"type": "integer"}},
    "X-Result-Count": {"description": "How many came.", "schema": {"type": "integer"}},
    "Link": {"description": "Where other pages are (RFC 8288).", "schema": {"type": "string"}},
}


def of_list(shape: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Return the answers of a list: all of it (200), or a part (206)."""
    return {
        200: {"model": list[shape], "description": "All that fit.", "headers": _COUNTS},  # type: ignore[valid-type]
        206: {"model": list[shape], "description": "Part of those that fit.", "headers": _COUNTS},  # type: ignore[valid-type]
    }


_TIME: Final = {"type": "string", "format": "date-time"}
_FILTERS: Final[dict[str, dict[str, Any]]] = {
    "requestedDate.gt": _TIME,
    "requestedDate.lt": _TIME,
    "logicalResource.id": {"type": "string", "pattern": r"^\+?[0-9]{3,15}$"},
    "channel.id": {"type": "string", "pattern": "^[a-z0-9-]{1,32}$"},
}
"""Forms of what some filters take."""


def filters(*paths: str) -> dict[str, Any]:
    """Describe a list's query: `fields`, `offset`, `limit`, and the filters that are used most."""
    said: list[tuple[str, dict[str, Any], str, Any]] = [
        ("fields", {"type": "string"}, "Attributes to show, by commas; id and href always are. `none`: these two alone.", "id,status"),
        ("offset", {"type": "integer", "minimum": 0, "maximum": 10**9}, "How many to pass over.", 0),
        ("limit", {"type": "integer", "minimum": 1, "maximum": TMF_PAGE_MAX}, f"How many to show; {TMF_PAGE} where nothing is said.", 20),
    ]  # fmt: skip
    text = "Only those with this value; several by commas. Any attribute's path may be a filter; .gt .gte .lt .lte .ne compare."
    said += [(path, _FILTERS.get(path, {"type": "string"}), text, None) for path in paths]
    return {
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": schema, "description": description}
            | ({} if example is None else {"example": example})
            for name, schema, description, example in said
        ]
    }


def body(example: Any) -> dict[str, Any]:
    """Describe a body by one that works."""
    return {"requestBody": {"content": {"application/json": {"example": example}}}}
