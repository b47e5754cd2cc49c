"""Answers and bodies against a Swagger 2 definition of TM Forum: nothing missing, nothing of another kind, nothing unknown.

Laws
1. What a definition does not name is a fault: a status, a path, a property. Swagger 2 knows no null, so null is one too.
2. A word of a schema that this checker does not know is an error of the checker (`Unjudged`), never passed over.
3. Every fault is told, with the place where it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Self

HERE = Path(__file__).parent / "tmf"
"""Where the definitions stand, as TM Forum publishes them."""

_SAID = {
    "description", "example", "title", "default", "readOnly", "externalDocs", "collectionFormat", "name", "in", "required",
}  # fmt: skip
_JUDGED = {
    "$ref", "allOf", "type", "format", "enum", "properties", "required", "items", "additionalProperties", "pattern",
    "minItems", "maxItems", "uniqueItems", "minimum", "maximum", "minLength", "maxLength",
}  # fmt: skip
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_URI = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")


class Unjudged(Exception):
    """The definition says something that this checker cannot judge."""


def _is_date_time(text: str) -> bool:
    """RFC 3339 section 5.6."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return _DATE_TIME.fullmatch(text) is not None


def _is_date(text: str) -> bool:
    return _is_date_time(f"{text}T00:00:00Z")


def _is_uri(text: str) -> bool:
    """RFC 3986: its characters alone, and each percent with two digits behind it; a reference without a scheme is one too."""
    return _URI.fullmatch(text) is not None and not re.search(r"%(?![0-9A-Fa-f]{2})", text)


_FORMATS: dict[str, Callable[[Any], bool]] = {
    "date-time": _is_date_time,
    "date": _is_date,
    "uri": _is_uri,
    "url": _is_uri,
    "float": lambda _number: True,
    "double": lambda _number: True,
    "int32": lambda number: -(2**31) <= number < 2**31,
    "int64": lambda number: -(2**63) <= number < 2**63,
}
_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float | Decimal) and not isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_BOUNDS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "minItems": (lambda value, bound: len(value) >= bound, "has too few items"),
    "maxItems": (lambda value, bound: len(value) <= bound, "has too many items"),
    "minLength": (lambda value, bound: len(value) >= bound, "is too short"),
    "maxLength": (lambda value, bound: len(value) <= bound, "is too long"),
    "minimum": (lambda value, bound: value >= bound, "is too small"),
    "maximum": (lambda value, bound: value <= bound, "is too large"),
    "pattern": (lambda value, bound: re.search(bound, value) is not None, "is not of the pattern"),
    "uniqueItems": (lambda value, bound: not bound or all(each not in value[:i] for i, each in enumerate(value)), "repeats"),
}  # fmt: skip


class Operation(NamedTuple):
    """One method on one path of the definition, the path as it is written there ("/bucket/{id}")."""

    method: str
    path: str


class Definition:
    """One definition; paths are those below its base path."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self.base_path: str = document["basePath"].rstrip("/")

    @classmethod
    def read(cls, name: str) -> Self:
        """Read a definition of the folder by the beginning of its name ("TMF640")."""
        (file,) = HERE.glob(f"{name}*.json")
        return cls(json.loads(file.read_text(encoding="utf-8")))

    @property
    def operations(self) -> list[Operation]:
        """Every method on every path."""
        return [
            Operation(method.upper(), path)
            for path, methods in self._document["paths"].items()
            for method in methods
        ]

    def operation(self, method: str, path: str) -> Operation | None:
        """Return what a request is by the definition, None where it is nothing of it; the path may have the base path and a query."""
        below = path.partition("?")[0].removeprefix(self.base_path)
        for each in self.operations:
            if each.method == method.upper() and re.fullmatch(
                re.sub(r"\{[^/}]+\}", "[^/]+", each.path), below
            ):
                return each
        return None

    def answer_faults(
        self,
        method: str,
        path: str,
        status: int,
        content: Any,
        headers: Mapping[str, str] | None = None,
        *,
        partial: bool = False,
    ) -> list[str]:
        """Return what is wrong with an answer. ``content`` is its JSON, None where there is no body.

        With ``headers`` those that the definition names are judged too. ``partial``: the request had `fields`, so required
        properties may be missing, but never id and href of what has them.
        """
        operation = self.operation(method, path)
        if operation is None:
            return [f"{method} {path}: not in the definition"]
        answers = self._document["paths"][operation.path][operation.method.lower()]["responses"]
        said = answers.get(str(status), answers.get("default"))
        if said is None:
            return [f"{method} {operation.path}: the definition has no answer {status}"]
        faults = list(self._headers(said.get("headers", {}), headers)) if headers is not None else []
        if "schema" not in said:
            return faults + ([] if content is None else [f"{status} has a body, the definition has none"])
        return faults + list(self._faults(said["schema"], content, "$", partial=partial))

    def body_faults(self, method: str, path: str, content: Any) -> list[str]:
        """Return what is wrong with a request's body."""
        operation = self.operation(method, path)
        if operation is None:
            return [f"{method} {path}: not in the definition"]
        taken = self._document["paths"][operation.path][operation.method.lower()].get("parameters", [])
        bodies = [each for each in taken if each["in"] == "body"]
        if not bodies:
            return [] if content is None else [f"{method} {operation.path} takes no body"]
        return list(self._faults(bodies[0]["schema"], content, "$", partial=False))

    def faults(self, name: str, content: Any, *, partial: bool = False) -> list[str]:
        """Return what is wrong with something of a named definition ("Bucket")."""
        return list(self._faults({"$ref": f"#/definitions/{name}"}, content, "$", partial=partial))

    def _headers(self, named: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[str]:
        there = {name.lower(): text for name, text in headers.items()}
        for name, schema in named.items():
            text = there.get(name.lower())
            if text is None:
                yield f"header {name} is missing"
            elif schema.get("type") == "integer" and not re.fullmatch(r"-?\d+", text):
                yield f"header {name} is no integer: {text!r}"

    def _faults(self, schema: Mapping[str, Any], value: Any, place: str, *, partial: bool) -> Iterator[str]:
        schema = self._whole(schema)
        if unknown := schema.keys() - _JUDGED - _SAID:
            raise Unjudged(f"{place}: {', '.join(sorted(unknown))}")
        kind = schema.get("type", "object" if "properties" in schema else None)
        if kind is None:
            return
        if kind not in _TYPES:
            raise Unjudged(f"{place}: type {kind}")
        if not _TYPES[kind](value):
            yield f"{place} is {type(value).__name__}, not {kind}"
            return
        yield from self._narrow(schema, value, place)
        if kind == "array":
            for i, each in enumerate(value):
                yield from self._faults(schema.get("items", {}), each, f"{place}[{i}]", partial=partial)
        elif kind == "object":
            yield from self._properties(schema, value, place, partial=partial)

    def _whole(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a schema with what it refers to, and all that it is made of, in one."""
        if "$ref" in schema:
            return self._whole(self._document["definitions"][schema["$ref"].removeprefix("#/definitions/")])
        if "allOf" not in schema:
            return schema
        parts = [
            *map(self._whole, schema["allOf"]),
            {name: each for name, each in schema.items() if name != "allOf"},
        ]
        whole: dict[str, Any] = {name: each for part in parts for name, each in part.items()}
        whole["properties"] = {
            name: each for part in parts for name, each in part.get("properties", {}).items()
        }
        whole["required"] = [name for part in parts for name in part.get("required", [])]
        return whole

    def _narrow(self, schema: Mapping[str, Any], value: Any, place: str) -> Iterator[str]:
        if "enum" in schema and value not in schema["enum"]:
            yield f"{place} is {value!r}, none of {', '.join(map(str, schema['enum']))}"
        said = schema.get("format")
        if said is not None and said not in _FORMATS:
            raise Unjudged(f"{place}: format {said}")
        if said is not None and not _FORMATS[said](value):
            yield f"{place} is no {said}: {value!r}"
        for name, (holds, what) in _BOUNDS.items():
            if name in schema and not holds(value, schema[name]):
                yield f"{place} {what} ({name} {schema[name]})"

    def _properties(
        self, schema: Mapping[str, Any], value: Mapping[str, Any], place: str, *, partial: bool
    ) -> Iterator[str]:
        known = schema.get("properties", {})
        needed = set(schema.get("required", ()))
        if partial and re.fullmatch(r"\$(\[\d+\])?", place):
            needed = {"id", "href"} & known.keys()  # of what was asked for; what lies deeper is whole
        for name in sorted(needed - value.keys()):
            yield f"{place}.{name} is missing"
        more = schema.get("additionalProperties", not known)
        for name, each in value.items():
            if name in known:
                yield from self._faults(known[name], each, f"{place}.{name}", partial=partial)
            elif more is False:
                yield f"{place}.{name} is not in the definition"
            elif isinstance(more, dict):
                yield from self._faults(more, each, f"{place}.{name}", partial=partial)
