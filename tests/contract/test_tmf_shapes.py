"""The checker of answers against a definition finds each kind of fault, and none where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.tmf_shapes import Definition, Unjudged

TMF640 = Definition.read("TMF640")
SERVICE: dict[str, Any] = {
    "id": "1",
    "href": "/service/1",
    "state": "active",
    "startDate": "2026-01-31T10:00:00Z",
    "isBundle": False,
    "serviceCharacteristic": [{"name": "msisdn", "value": "491"}],
    "serviceSpecification": {"id": "charging", "href": "http://example.net/a%20b"},
}


def changed(place: str, value: Any) -> dict[str, Any]:
    return {**SERVICE, place: value}


def test_a_right_answer_has_no_fault() -> None:
    said = {"X-Total-Count": "1", "x-result-count": "1"}
    assert TMF640.answer_faults("GET", "/service", 200, [SERVICE], said) == []
    assert TMF640.answer_faults("get", f"{TMF640.base_path}/service/1?fields=state", 200, SERVICE) == []
    assert TMF640.answer_faults("DELETE", "/service/1", 204, None) == []


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (changed("state", "asleep"), "$.state is 'asleep', none of"),
        (changed("state", None), "$.state is NoneType, not string"),
        (changed("isBundle", 0), "$.isBundle is int, not boolean"),
        (changed("startDate", "2026-13-01T10:00:00Z"), "$.startDate is no date-time"),
        (changed("startDate", "2026-01-31 10:00:00Z"), "$.startDate is no date-time"),
        (changed("tariff", "flat"), "$.tariff is not in the definition"),
        (changed("serviceCharacteristic", [{"name": "a"}]), "$.serviceCharacteristic[0].value is missing"),
        (changed("serviceCharacteristic", {}), "$.serviceCharacteristic is dict, not array"),
        (changed("serviceSpecification", {"id": "1", "href": "a b"}), "$.serviceSpecification.href is no uri"),
        (changed("serviceSpecification", {"id": "1", "href": "%zz"}), "$.serviceSpecification.href is no uri"),
        (changed("serviceSpecification", {}), "$.serviceSpecification.id is missing"),
    ],
)  # fmt: skip
def test_each_kind_of_fault_is_told_with_its_place(value: Any, fault: str) -> None:
    (found,) = TMF640.answer_faults("PATCH", "/service/1", 200, value)
    assert found.startswith(fault)


def test_what_the_definition_does_not_name_is_a_fault() -> None:
    assert TMF640.answer_faults("GET", "/services", 200, []) != []
    assert TMF640.answer_faults("PUT", "/service/1", 200, SERVICE) != []
    assert TMF640.answer_faults("GET", "/service/1", 418, {"code": "1", "reason": "tea"}) != []
    assert TMF640.answer_faults("DELETE", "/service/1", 204, {}) != []
    assert TMF640.answer_faults("GET", "/service/1", 404, {"code": 60, "reason": "none"}) != []
    assert TMF640.answer_faults("GET", "/service", 200, [], {"X-Total-Count": "many"}) == [
        "header X-Result-Count is missing",
        "header X-Total-Count is no integer: 'many'",
    ]


def test_with_fields_only_id_and_href_have_to_be_there_and_what_is_there_is_whole() -> None:
    assert TMF640.answer_faults("GET", "/service", 200, [{"id": "1", "href": "/1"}], partial=True) == []
    assert TMF640.answer_faults("GET", "/service", 200, [{"id": "1"}], partial=True) == [
        "$[0].href is missing"
    ]
    cut = {"id": "1", "href": "/1", "serviceCharacteristic": [{"name": "a"}]}
    assert TMF640.answer_faults("GET", "/service/1", 200, cut, partial=True) == [
        "$.serviceCharacteristic[0].value is missing"
    ]


def test_bodies_are_judged_as_answers_are() -> None:
    assert (
        TMF640.body_faults("POST", "/service", {"state": "active", "serviceSpecification": {"id": "1"}}) == []
    )
    assert TMF640.body_faults("POST", "/service", {"state": "active"}) == [
        "$.serviceSpecification is missing"
    ]
    assert TMF640.body_faults("GET", "/service", {}) == ["GET /service takes no body"]
    assert TMF640.faults("Error", {"code": "1"}) == ["$.reason is missing"]


def test_a_word_that_is_not_known_is_never_passed_over() -> None:
    for schema in ({"type": "string", "format": "colour"}, {"type": "string", "xml": {}}, {"type": "file"}):
        alone = Definition({"basePath": "/", "paths": {}, "definitions": {"One": schema}})
        with pytest.raises(Unjudged):
            alone.faults("One", "red")


def test_bounds_and_what_a_schema_is_made_of_count() -> None:
    document = {
        "basePath": "/",
        "paths": {},
        "definitions": {
            "Base": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}},
            "One": {
                "allOf": [{"$ref": "#/definitions/Base"}],
                "properties": {"few": {"type": "array", "maxItems": 1, "items": {"type": "integer", "maximum": 3}}},
            },
            "Map": {"type": "object", "additionalProperties": {"type": "number"}},
        },
    }  # fmt: skip
    made = Definition(document)
    assert made.faults("One", {"id": "1", "few": [3]}) == []
    assert made.faults("One", {"few": [1, 4]}) == [
        "$.id is missing",
        "$.few has too many items (maxItems 1)",
        "$.few[1] is too large (maximum 3)",
    ]
    assert made.faults("Map", {"a": 1.5, "b": "c"}) == ["$.b is str, not number"]
