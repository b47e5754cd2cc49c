"""Lists and parts of resources as TMF630 says: `fields`, filters by attribute path, `offset` and `limit`.

Laws
1. `id` and `href` always stay, whatever `fields` says.
2. An attribute that the resource does not have is refused (400), in `fields` as in a filter: a mistyped filter must not list everything.
3. Part of a list is 206, all of it 200; both say how many there are (X-Total-Count) and how many came (X-Result-Count).
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from types import UnionType
from typing import Annotated, Any, Final, NamedTuple, Union, get_args, get_origin
from urllib.parse import urlencode

from fastapi import Request
from pydantic import BaseModel

from ocs.api_limits import TMF_FILTERS_MAX, TMF_PAGE, TMF_PAGE_MAX, TMF_VALUES_MAX
from ocs.http.exact_answer import ExactAnswer
from ocs.http.prepay.errors import bad

_COMPARED: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq, "ne": operator.ne, "gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le,
}  # fmt: skip
_OURS: Final = frozenset({"fields", "offset", "limit"})


class Filter(NamedTuple):
    """One condition: an attribute's path, how it is compared, and the values of which one has to fit."""

    path: str
    compare: str
    values: tuple[Any, ...]
    kind: type = str

    def holds(self, resource: Mapping[str, Any]) -> bool:
        """Tell whether a resource fits: one of its values under the path does (``ne``: none is equal)."""
        found = [_TYPED[self.kind](each) for each in _under(resource, self.path.split("."))]
        compare = _COMPARED[self.compare]
        if self.compare == "ne":
            return all(compare(each, value) for each in found for value in self.values)
        return any(compare(each, value) for each in found for value in self.values)


class Query(NamedTuple):
    """What a list, or one resource, is asked for."""

    fields: frozenset[str] | None
    filters: tuple[Filter, ...]
    offset: int
    limit: int
    path: str
    pairs: tuple[tuple[str, str], ...]

    def only(self, path: str) -> str | None:
        """Return the one value that an attribute has to have, where a filter says so."""
        for each in self.filters:
            if each.path == path and each.compare == "eq" and len(each.values) == 1:
                return str(each.values[0])
        return None

    def without(self, *paths: str) -> "Query":
        """Return the query without conditions on one value of these attributes, which hold already."""
        return self._replace(
            filters=tuple(
                each for each in self.filters if each.path not in paths or self.only(each.path) is None
            )
        )

    def bounds_ms(self, path: str) -> tuple[int, int | None]:
        """Return from when (milliseconds since 1970, 0: from the first) till when an attribute has to lie; None: to the last."""
        from_ms, until_ms = 0, None
        for each in self.filters:
            if each.path != path:
                continue
            instants = [int(value.timestamp() * 1000) for value in each.values]
            if each.compare in {"gt", "gte", "eq"}:
                from_ms = max(from_ms, min(instants))
            if each.compare in {"lt", "lte", "eq"}:
                latest = max(instants)
                until_ms = latest if until_ms is None else min(until_ms, latest)
        return from_ms, until_ms

    def shown(self, resource: Mapping[str, Any]) -> dict[str, Any]:
        """Return what was asked for of a resource."""
        return part(resource, self.fields)


def part(resource: Mapping[str, Any], fields: frozenset[str] | None) -> dict[str, Any]:
    """Return the attributes of a resource that are asked for (None: all); id and href always are."""
    if fields is None:
        return dict(resource)
    kept = fields | {"id", "href"}
    return {name: each for name, each in resource.items() if name in kept}


def fields_of(text: str | None, shape: type[BaseModel]) -> frozenset[str] | None:
    """Read `fields`: names of first-level attributes, by commas; "none" for id and href alone. 400 for an unknown one."""
    if text is None:
        return None
    names = frozenset(name.strip() for name in text.split(",") if name.strip()) - {"none"}
    known = {path for path in attributes(shape) if "." not in path}
    if unknown := sorted(names - known):
        raise bad(
            "unknownAttribute", f"fields: {shape.__name__} has no such attribute; of it there are {', '.join(sorted(known))}"
            if len(unknown) == 1 else f"fields: {len(unknown)} attributes are none of {shape.__name__}; look at its shape",
        )  # fmt: skip
    return names


def query_of(request: Request, shape: type[BaseModel]) -> Query:
    """Read a list's query. 400 for what cannot be read, and for attributes that the shape does not have."""
    pairs = tuple(request.query_params.multi_items())
    given = dict(pairs)
    if len(pairs) > TMF_FILTERS_MAX:
        raise bad("limit", f"query: more than {TMF_FILTERS_MAX} parameters; leave some out")
    filters = tuple(_filter(name, text, shape) for name, text in pairs if name not in _OURS)
    return Query(
        fields_of(given.get("fields"), shape),
        filters,
        _number(given, "offset", 0, 0, 10**9),
        _number(given, "limit", TMF_PAGE, 1, TMF_PAGE_MAX),
        request.url.path,
        pairs,
    )


def _number(given: Mapping[str, str], name: str, usual: int, least: int, most: int) -> int:
    text = given.get(name)
    if text is None:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and least <= int(text) <= most):
        raise bad(
            "badQuery", f"{name}: no whole number from {least} to {most}; write such as {name}={usual or 20}"
        )
    return int(text)


def _filter(name: str, text: str, shape: type[BaseModel]) -> Filter:
    known = attributes(shape)
    path, _, compare = name.rpartition(".")
    if compare not in _COMPARED or path not in known:
        path, compare = name, "eq"
    kind = known.get(path, dict)
    if kind not in _READ:
        raise bad("unknownAttribute", f"query: {shape.__name__} has no attribute of that path to filter by")
    values = text.split(",") if compare in {"eq", "ne"} else [text]
    if len(values) > TMF_VALUES_MAX:
        raise bad("limit", f"{path}: more than {TMF_VALUES_MAX} values; ask for some at a time")
    try:
        return Filter(path, compare, tuple(_READ[kind](value) for value in values), kind)
    except (ValueError, InvalidOperation, OverflowError):
        raise bad("badQuery", f"{name}: the value is no {_NAMED[kind]}") from None


def _instant(text: str) -> datetime:
    """Read a time; a plus that a query has turned into a blank is a plus again. Raises ValueError, also without a distance from UTC."""
    found = datetime.fromisoformat(text.strip().replace(" ", "+"))
    if found.tzinfo is None:
        raise ValueError("a time needs its distance from UTC")
    return found.astimezone(UTC)


def _number_text(text: str) -> Decimal:
    found = Decimal(text)
    if not found.is_finite():
        raise ValueError("not a number")
    return found


def _truth(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError("neither true nor false")
    return text == "true"


_READ: Final[dict[type, Callable[[str], Any]]] = {
    str: str, datetime: _instant, Decimal: _number_text, int: _number_text, bool: _truth,
}  # fmt: skip
_TYPED: Final[dict[type, Callable[[Any], Any]]] = {
    str: str, datetime: datetime.fromisoformat, Decimal: Decimal, int: Decimal, bool: bool,
}  # fmt: skip
"""A resource's value as it is compared; the times of resources are in UTC."""
_NAMED: Final = {
    str: "text", datetime: "time; write it with its distance from UTC, such as 2026-12-01T00:00:00Z",
    Decimal: "number", int: "number", bool: "truth; write true or false",
}  # fmt: skip


def _under(resource: Any, path: Sequence[str]) -> Iterator[Any]:
    """Give every value under a path, through lists."""
    if isinstance(resource, list):
        for each in resource:
            yield from _under(each, path)
    elif not path:
        yield resource
    elif isinstance(resource, dict) and path[0] in resource:
        yield from _under(resource[path[0]], path[1:])


_KNOWN: dict[type[BaseModel], dict[str, type]] = {}


def attributes(shape: type[BaseModel]) -> dict[str, type]:
    """Return the paths of a shape's attributes, those of objects in it by dots, and what they are (str, datetime, Decimal, int, bool, dict)."""
    if shape not in _KNOWN:
        _KNOWN[shape] = dict(_paths(shape, ""))
    return _KNOWN[shape]


def _paths(shape: type[BaseModel], above: str) -> Iterator[tuple[str, type]]:
    for name, field in shape.model_fields.items():
        path = f"{above}{field.alias or name}"
        inner = _inner(field.annotation)
        if issubclass(inner, BaseModel):
            yield path, dict
            yield from _paths(inner, f"{path}.")
        else:
            yield (
                path,
                next((each for each in (bool, datetime, Decimal, int) if issubclass(inner, each)), str),
            )


def _inner(annotation: Any) -> type:
    """Return what an annotation is about: of X | None and list[X] the X."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _inner(get_args(annotation)[0])
    if origin in {Union, UnionType}:
        return _inner(next(each for each in get_args(annotation) if each is not type(None)))
    if origin is list:
        return _inner(get_args(annotation)[0])
    return annotation if isinstance(annotation, type) else str


def listed(query: Query, found: Sequence[Mapping[str, Any]]) -> ExactAnswer:
    """Answer with the page that was asked for of resources, all of which are given; filters are applied here."""
    fitting = [each for each in found if all(condition.holds(each) for condition in query.filters)]
    page = fitting[query.offset : query.offset + query.limit]
    return paged(query, page, len(fitting))


def paged(query: Query, page: Sequence[Mapping[str, Any]], total: int) -> ExactAnswer:
    """Answer with a page of ``total`` resources."""
    headers = {"X-Total-Count": str(total), "X-Result-Count": str(len(page)), "Link": _links(query, total)}
    status = 200 if len(page) == total else 206
    return ExactAnswer([query.shown(each) for each in page], status, headers)


def _links(query: Query, total: int) -> str:
    """Write where the other pages are (RFC 8288)."""
    last = max(0, (total - 1) // query.limit * query.limit)
    places = {"self": query.offset, "first": 0, "last": last}
    if query.offset:
        places["prev"] = max(0, query.offset - query.limit)
    if query.offset + query.limit < total:
        places["next"] = query.offset + query.limit
    kept = [(name, text) for name, text in query.pairs if name not in {"offset", "limit"}]
    said = []
    for rel, offset in places.items():
        text = urlencode([*kept, ("offset", str(offset)), ("limit", str(query.limit))])
        said.append(f'<{query.path}?{text}>; rel="{rel}"')
    return ", ".join(said)
