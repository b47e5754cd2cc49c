"""`customers …` on both databases: what is made, what is told, and the exit codes of what is not."""

import json
from datetime import date
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from ocs.care.customers.commands import CommandGround, customers_app
from ocs.care.customers.shapes import Words
from ocs.clock import SystemClock
from ocs.sql import engine_of


class Terminal:
    """Types commands; each gives its exit code and what it said."""

    def __init__(self, database: Engine) -> None:
        def opened(url: str) -> CommandGround:
            return CommandGround(
                engine_of(url) if url else database,
                SystemClock(),
                date(2026, 3, 1),
                Words(plans={"smart-m", "smart-l"}),
            )

        self._app = customers_app(opened)

    def __call__(self, *words: str, code: int = 0) -> str:
        done = CliRunner().invoke(self._app, list(words))
        assert done.exit_code == code, done.output + repr(done.exception)
        return done.output

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))


@pytest.fixture
def terminal(database: Engine) -> Terminal:
    return Terminal(database)


ADA = (
    "create-person",
    "Ada",
    "Klein",
    "--email",
    "ada@example.org",
    "--street",
    "Hauptstraße",
    "--postcode",
    "10115",
    "--city",
    "Berlin",
)


def test_a_person_gets_a_number_an_account_and_a_service(terminal: Terminal) -> None:
    made = terminal.json(*ADA, "--id", "1")
    assert terminal.json(*ADA, "--id", "1") == made
    assert (made["customer"], made["name"], made["kind"]) == ("C10000016", "Ada Klein", "consumer")
    account = terminal.json("account", made["customer"], "--id", "2")
    assert terminal.json("account", made["customer"], "--id", "2") == account
    assert (account["account"], account["since"]) == ("A10000016", "2026-03-01")
    service = terminal.json(
        "service",
        str(made["party"]),
        "smart-m",
        "--number",
        "+491701",
        "--credit-limit",
        "50.00",
        "--id",
        "3",
    )
    assert (service["payer"], service["plans"], service["credit_limit"]) == (
        "A10000016",
        ["smart-m"],
        "50.00",
    )
    changed = terminal.json("plan", str(service["service"]), "smart-l", "--day", "2026-03-10")
    assert changed["plans"] == ["smart-l"]
    assert terminal.json("show", "+491701") == service
    assert terminal.json("show", "A10000016") == account
    shown = terminal.json("show", "C10000016")
    assert (shown["accounts"], shown["services"]) == ([account], [service])
    for text in ("Ada Klein", "C10000016", "A10000016", "smart-m"):
        assert text in terminal("show", "C10000016")


def test_a_company_has_branches_and_is_listed(terminal: Terminal) -> None:
    top = terminal.json("create-company", "Klein AG", "--vat-id", "DE123456789")
    north = terminal.json("add-branch", str(top["party"]), "North")
    assert north["parent"] == top["party"]
    terminal("account", top["customer"], "--delivery", "post", "--party", str(north["party"]))
    shown = terminal.json("show", top["customer"])
    assert [each["name"] for each in shown["tree"]] == ["Klein AG", "North"]
    assert shown["accounts"][0]["payer"] == "North"
    other = terminal.json(*ADA)
    assert [each["customer"] for each in terminal.json("list")] == [top["customer"], other["customer"]]
    assert [each["name"] for each in terminal.json("list", "--after", top["customer"])] == ["Ada Klein"]
    assert "Klein AG" in terminal("list", "--limit", "1")


def test_what_does_not_work_says_why_and_how_it_ends(terminal: Terminal) -> None:
    assert "customer: none has this number" in terminal("show", "C1", code=4)
    assert "family_name: it is empty" in terminal("create-person", "Ada", "", code=2)
    assert "since: no day" in terminal(
        "account", terminal.json(*ADA)["customer"], "--since", "1.3.2026", code=2
    )
    assert "plan: there is none of this key; write one of smart-l, smart-m" in terminal(
        "service", "1", "smart-x", code=2
    )
    terminal("account", "C10000016")
    terminal("service", "1", "smart-m", "--number", "491701")
    assert "number: service 1 has it" in terminal("service", "1", "smart-m", "--number", "491701", code=3)
    terminal(*ADA, "--id", "k")
    assert "id: it was used for something else" in terminal(
        "create-person", "Eva", "Klein", "--id", "k", code=3
    )
    assert "nobody holds it" in terminal("show", "49999", code=4)
    assert "not spoken" in terminal("list", "--database", "mysql://x/y", code=5)
    assert "does not answer" in terminal("list", "--database", "sqlite:////nowhere/at/all.sqlite", code=5)
    terminal("list", "--limit", "0", code=2)
