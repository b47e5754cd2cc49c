"""Parties in the shapes of TMF632 v4.0.0: individuals, and organisations with their place in a tree.

Laws
1. Paths, names, statuses and error bodies are the definition's. Its hub and listeners are not served here.
2. DELETE ends a party, which stays to be seen. A moved organisation is below its new parent from today on.
"""

from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter, Request
from sqlalchemy import Connection, Row, select

from ocs.care.customers import desk
from ocs.care.customers.http import shapes
from ocs.care.customers.http.ground import (
    ONE,
    READ,
    WRITE,
    FieldsAsked,
    Ground,
    Key,
    Name,
    answers,
    begin,
    day_time,
    instant,
    key_of,
    listing,
    lists,
    looking,
    made_once,
    part,
    working,
)
from ocs.care.customers.shapes import Address, NewOrganisation, NewPerson, missing, wrong
from ocs.care.customers.tables import addresses, parties
from ocs.http.access import Caller
from ocs.http.audit_log import Change
from ocs.http.exact_answer import ExactAnswer
from ocs.http.prepay.documented import faults, filters
from ocs.http.prepay.listing import fields_of, query_of

BASE: Final = "/tmf-api/party/v4"
_KINDS: Final = {"person": "individual", "organisation": "organization"}
_IDENTIFICATIONS: Final = {"commercialRegister": "register_number", "vatId": "vat_id"}


def router(ground: Ground) -> APIRouter:
    """Build the routes."""
    routes = APIRouter(prefix=BASE, tags=["TMF632 party"])
    _seen(routes, ground, "person", shapes.Individual)
    _seen(routes, ground, "organisation", shapes.Organization)
    _individuals(routes, ground)
    _organizations(routes, ground)
    return routes


def _seen(
    routes: APIRouter, ground: Ground, kind: str, shape: type[shapes.Individual | shapes.Organization]
) -> None:
    """Add what both kinds have: the list, one, and DELETE."""
    path = f"/{_KINDS[kind]}"
    reads, writes = ground.access.route(READ), ground.access.change(WRITE)
    columns = {"givenName": parties.c.given_name, "familyName": parties.c.family_name}
    if kind == "organisation":
        columns = {
            "tradingName": parties.c.organisation_name,
            "organizationParentRelationship.organization.id": parties.c.parent,
        }

    @routes.get(
        path,
        name=f"list{path}",
        summary=f"List {path[1:]}s",
        responses=lists(shape),
        openapi_extra=filters(*columns),
    )
    def list_all(request: Request, _caller: Caller = reads) -> ExactAnswer:
        """List them, ended ones too."""
        query = query_of(request, shape)
        with looking(ground) as look:
            asked = select(parties).where(parties.c.kind == kind).order_by(parties.c.id)
            return listing(
                look, query, asked, {"id": parties.c.id, **columns}, lambda rows: _described(look, rows)
            )

    @routes.get(
        path + ONE,
        name=f"show{path}",
        summary=f"Show an {path[1:]}",
        responses=answers(200, shape),
    )
    def show(name: Name, fields: FieldsAsked = None, _caller: Caller = reads) -> ExactAnswer:
        """Show one."""
        wanted = fields_of(fields, shape)
        with looking(ground) as look:
            (found,) = _described(look, [_row(look, kind, key_of(name, path[1:]))])
        return ExactAnswer(part(found, wanted))

    @routes.delete(
        path + ONE,
        name=f"end{path}",
        summary=f"End an {path[1:]}",
        status_code=204,
        responses=faults(),
    )
    def end(name: Name, change: Change = writes) -> None:
        """End one that holds nothing any more; it stays to be seen."""
        key = key_of(name, path[1:])
        begin(change, "party.end", f"party {key}")
        with working(ground) as work:
            _row(work, kind, key)
            desk.end_party(work, key, ground.clock.now_ms())


def _individuals(routes: APIRouter, ground: Ground) -> None:
    writes = ground.access.change(WRITE)

    @routes.post(
        "/individual",
        summary="Create an individual",
        status_code=201,
        responses=answers(201, shapes.Individual),
    )
    def create_individual(
        asked: shapes.IndividualCreate, key: Key = None, change: Change = writes
    ) -> ExactAnswer:
        """Create a person, once by the channel's own id."""
        begin(change, "party.create")
        with working(ground, missing=400) as work:
            person = NewPerson(**({"given_name": "", "family_name": ""} | _fields(asked)))
            media = _addresses(asked.contact_medium)
            made = made_once(
                ground, work, change, key, {"party": person, "addresses": media}, "party", lambda: _make(work, ground, person, media)
            )  # fmt: skip
            return _created_answer(work, "person", made)

    @routes.patch(
        "/individual" + ONE,
        summary="Change an individual",
        responses=answers(200, shapes.Individual),
    )
    def change_individual(name: Name, asked: shapes.IndividualUpdate, change: Change = writes) -> ExactAnswer:
        """Change a person; what is left out stays. An address takes the place of the one of its kind."""
        key = key_of(name, "individual")
        begin(change, "party.change", f"party {key}")
        with working(ground) as work:
            _row(work, "person", key)
            return _changed(work, "person", key, _fields(asked), asked.contact_medium)


def _organizations(routes: APIRouter, ground: Ground) -> None:
    writes = ground.access.change(WRITE)

    @routes.post(
        "/organization",
        summary="Create an organisation",
        status_code=201,
        responses=answers(201, shapes.Organization),
    )
    def create_organization(
        asked: shapes.OrganizationCreate, key: Key = None, change: Change = writes
    ) -> ExactAnswer:
        """Create a company, or a branch below its parent; once by the channel's own id."""
        begin(change, "party.create")
        with working(ground, missing=400) as work:
            above = asked.organization_parent_relationship
            parent = None if above is None else _parent(above)
            organisation = NewOrganisation(**({"organisation_name": "", "parent": parent} | _fields(asked)))
            media = _addresses(asked.contact_medium)
            made = made_once(
                ground, work, change, key, {"party": organisation, "addresses": media}, "party",
                lambda: _make(work, ground, organisation, media),
            )  # fmt: skip
            return _created_answer(work, "organisation", made)

    @routes.patch(
        "/organization" + ONE,
        summary="Change an organisation",
        responses=answers(200, shapes.Organization),
    )
    def change_organization(
        name: Name, asked: shapes.OrganizationUpdate, change: Change = writes
    ) -> ExactAnswer:
        """Change an organisation, or where it hangs from today on; what is left out stays."""
        key = key_of(name, "organization")
        begin(change, "party.change", f"party {key}")
        with working(ground) as work:
            _row(work, "organisation", key)
            above = asked.organization_parent_relationship
            if above is not None:
                desk.move_branch(work, key, _parent(above), ground.today())
            return _changed(work, "organisation", key, _fields(asked), asked.contact_medium)


def _make(
    work: Connection, ground: Ground, party: NewPerson | NewOrganisation, media: Sequence[Address]
) -> int:
    made = desk.create_party(work, party, ground.clock.now_ms())
    for each in media:
        desk.put_address(work, made, each)
    return made


def _changed(
    work: Connection,
    kind: str,
    key: int,
    fields: dict[str, Any],
    media: Sequence[shapes.ContactMedium] | None,
) -> ExactAnswer:
    if fields:
        desk.change_party(work, key, fields)
    for each in _addresses(media):
        desk.put_address(work, key, each)
    (found,) = _described(work, [_row(work, kind, key)])
    return ExactAnswer(found)


def _created_answer(work: Connection, kind: str, key: int) -> ExactAnswer:
    (found,) = _described(work, [_row(work, kind, key)])
    return ExactAnswer(found, 201, {"Location": found["href"]})


def _row(look: Connection, kind: str, key: int) -> Row[Any]:
    row = look.execute(select(parties).where(parties.c.id == key, parties.c.kind == kind)).one_or_none()
    if row is None:
        raise missing(_KINDS[kind], "none has this id")
    return row


def _parent(above: shapes.ParentRelationship) -> int:
    name = above.organization.id
    if not (name.isascii() and name.isdigit() and len(name) <= 15):
        raise missing("organizationParentRelationship.organization.id", "no organization has this id")
    return int(name)


def _fields(asked: shapes.IndividualUpdate | shapes.OrganizationUpdate) -> dict[str, Any]:
    """Return the fields that a body names, as the desk has them."""
    found: dict[str, Any] = {}
    if isinstance(asked, shapes.IndividualUpdate):
        named = {"given_name": asked.given_name, "family_name": asked.family_name}
        found |= {name: value for name, value in named.items() if value is not None}
        if asked.birth_date is not None:
            found["birth_day"] = asked.birth_date.date()
        if asked.language_ability is not None:
            found["language"] = asked.language_ability[0].language_code
    else:
        if asked.trading_name is not None:
            found["organisation_name"] = asked.trading_name
        for each in asked.organization_identification or ():
            found[_IDENTIFICATIONS[each.identification_type]] = each.identification_id
        for one in asked.party_characteristic or ():
            if one.name != "language":
                raise wrong("partyCharacteristic", "an unknown name", "the one that is known is language")
            found["language"] = one.value
    for place, medium in enumerate(asked.contact_medium or ()):
        if medium.medium_type == "email":
            found["email"] = _said(medium.characteristic.email_address, place, "emailAddress")
        elif medium.medium_type == "phone":
            found["phone"] = _said(medium.characteristic.phone_number, place, "phoneNumber")
    return found


def _said(value: str | None, place: int, name: str) -> str:
    if value is None:
        raise wrong(f"contactMedium[{place}].characteristic.{name}", "it is missing", "name it")
    return value


def _addresses(media: Sequence[shapes.ContactMedium] | None) -> list[Address]:
    """Return the addresses among contact media (law 2 of shapes.py)."""
    found = []
    for place, each in enumerate(media or ()):
        if each.medium_type == "postalAddress":
            its = each.characteristic
            found.append(
                Address(
                    _said(its.street1, place, "street1"), _said(its.post_code, place, "postCode"), _said(its.city, place, "city"), "",
                    its.street2 or "", its.country or "DE", its.contact_type or "main",
                )
            )  # fmt: skip
    return found


def _described(look: Connection, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    """Describe parties as the definition does."""
    lived: dict[int, list[dict[str, Any]]] = {}
    keys = [row.id for row in rows]
    for each in look.execute(select(addresses).where(addresses.c.party.in_(keys)).order_by(addresses.c.id)):
        lived.setdefault(each.party, []).append(_address(each))
    return [
        (_individual if row.kind == "person" else _organization)(row, lived.get(row.id, [])) for row in rows
    ]


def _address(row: Row[Any]) -> dict[str, Any]:
    characteristic = {
        "contactType": row.kind, "street1": f"{row.street} {row.house_number}".strip(), "postCode": row.postcode, "city": row.city,
        "country": row.country,
    }  # fmt: skip
    if row.addition:
        characteristic["street2"] = row.addition
    return {"mediumType": "postalAddress", "characteristic": characteristic}


def _media(row: Row[Any], lived: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if row.email:
        found.append({"mediumType": "email", "characteristic": {"emailAddress": row.email}})
    if row.phone:
        found.append({"mediumType": "phone", "characteristic": {"phoneNumber": row.phone}})
    return found + lived


def _individual(row: Row[Any], lived: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": str(row.id),
        "href": f"{BASE}/individual/{row.id}",
        "givenName": row.given_name,
        "familyName": row.family_name,
        "fullName": f"{row.given_name} {row.family_name}",
        "status": "validated",
        "contactMedium": _media(row, lived),
        "languageAbility": [{"languageCode": row.language, "isFavouriteLanguage": True}],
        "@type": "Individual",
    }
    if row.birth_day is not None:
        found["birthDate"] = day_time(row.birth_day)
    if row.until_ms is not None:
        found["partyCharacteristic"] = [
            {"name": "until", "valueType": "string", "value": instant(row.until_ms)}
        ]
    return found


def _organization(row: Row[Any], lived: list[dict[str, Any]]) -> dict[str, Any]:
    during = {"startDateTime": instant(row.since_ms)}
    if row.until_ms is not None:
        during["endDateTime"] = instant(row.until_ms)
    found: dict[str, Any] = {
        "id": str(row.id),
        "href": f"{BASE}/organization/{row.id}",
        "tradingName": row.organisation_name,
        "isHeadOffice": row.parent is None,
        "status": "validated" if row.until_ms is None else "closed",
        "existsDuring": during,
        "contactMedium": _media(row, lived),
        "organizationIdentification": [
            {"identificationType": kind, "identificationId": getattr(row, column)}
            for kind, column in _IDENTIFICATIONS.items()
            if getattr(row, column)
        ],
        "partyCharacteristic": [{"name": "language", "valueType": "string", "value": row.language}],
        "@type": "Organization",
    }
    if row.parent is not None:
        found["organizationParentRelationship"] = {
            "relationshipType": "branch",
            "organization": {"id": str(row.parent), "href": f"{BASE}/organization/{row.parent}"},
        }
    return found
