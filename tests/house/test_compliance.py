"""The statement of compliance names real tests, says why where it falls short, and leaves no section out."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import NamedTuple

import pytest

from ocs.diameter import dictionary, grammar
from tests.house.source import ROOT

PAGE = ROOT / "ocs" / "diameter" / "COMPLIANCE.md"
LAST_SECTIONS = {"RFC 6733": 14, "RFC 8506": 16}
RO = "TS 32.299"
RO_CLAUSES = frozenset(
    [
        "5.2",
        "5.2.0",
        "5.2.1",
        "5.2.2",
        "5.2.2.0",
        "5.2.2.1",
        "5.2.2.1.1",
        "5.2.2.1.2",
        "5.2.2.1.3",
        "5.2.2.1.4",
        "5.2.2.2",
        "5.2.2.3",
        "5.2.3",
        "5.3",
        "5.3.1",
        "5.3.2",
        "5.3.3",
        "5.3.4",
        "6.3",
        "6.4",
        "6.4.2",
        "6.4.3",
        "6.5",
        "6.6",
        "7.1",
        "7.2",
    ]
)
"""Clauses of TS 32.299 about Ro and Gy."""
RO_SUBJECTS = (
    "duplicate detection", "operation failure", "Tariff changes", "Server-initiated re-authorization", "Failover", "Credit pooling",
    "Re-Auth-Request", "idle timeout", "change of charging conditions", "reporting of quota usage", "quota consumption", "Termination action",
    "Account expiration", "Envelope reporting", "Combinational quota", "offline charging", "Service specific units", "Advice of charge",
)  # fmt: skip
"""What clauses 6.3 to 6.5 are about, each with a row of its own."""
RO_STRANGERS = frozenset({1249, 1265, 1266, 1268, 1270, 1271, 1276, 1278, 2054, 2309, 3904, 3912, 4407})
"""AVPs of Ro and Gy that we do not know: not in our dictionary, and a row says so."""
RO_GROUPS = (
    "Multiple-Services-Credit-Control",
    "Used-Service-Unit",
    "Granted-Service-Unit",
    "Requested-Service-Unit",
    "Trigger",
)
LEVELS = frozenset({"C", "PC", "NC", "—"})
NAMED = re.compile(r"`([^`]*)`")


class Claim(NamedTuple):
    """One row of the page."""

    rfc: str
    section: tuple[int, ...]
    level: str
    remark: str
    tests: tuple[str, ...]

    @property
    def where(self) -> str:
        """What to call the row in a finding."""
        return f"{self.rfc} section {'.'.join(map(str, self.section))}"


def claims(page: str) -> list[Claim]:
    """Read the rows of a page, with the RFC whose heading stands above them."""
    found, rfc = [], ""
    for line in page.splitlines():
        if line.startswith("## "):
            rfc = line[3:].partition(":")[0]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and re.fullmatch(r"[0-9.]+", cells[0]):
            section, _, level, remark, shown = cells
            number = tuple(int(part) for part in section.split("."))
            found.append(Claim(rfc, number, level, remark, tuple(NAMED.findall(shown))))
    return found


@cache
def named_in(file: str) -> frozenset[str]:
    """The names of the tests in a file below tests/; none when there is no such file."""
    path = ROOT / "tests" / file
    if not path.is_file():
        return frozenset()
    return frozenset(
        node.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def exists(name: str) -> bool:
    """Tell whether `file::test` is a test."""
    file, separator, test = name.partition("::")
    return bool(separator) and test in named_in(file)


def faults(page: str) -> list[str]:
    """Everything that is wrong with a page."""
    found = []
    for claim in claims(page):
        if claim.level not in LEVELS:
            found.append(f"{claim.where}: {claim.level!r} is no level")
        if claim.level == "C" and not claim.tests:
            found.append(f"{claim.where}: compliant, and no test shows it")
        if claim.level != "C" and not claim.remark:
            found.append(f"{claim.where}: not compliant, and no remark says why")
        if claim.level in {"NC", "—"} and claim.tests:
            found.append(f"{claim.where}: a test shows something, yet the row says {claim.level}")
        found += [f"{claim.where}: there is no test {name}" for name in claim.tests if not exists(name)]
    return found + holes(page) + holes_of_ro(page)


def avps_of_ro() -> dict[int, str]:
    """The AVPs of 3GPP that our grammars have in the requests and answers of Ro and Gy and in their services, by code."""
    grammars = [command.grammar for command in grammar.COMMANDS if command.name in {"CCR", "CCA"}]
    grammars += [grammar.GROUPS[name] for name in RO_GROUPS]
    names = {
        name
        for text in grammars
        for name in re.findall(r"[A-Z0-9][A-Za-z0-9]*(?:-[A-Za-z0-9]+)+|Trigger", text)
    }
    names |= {
        leniency.rule.strip("*[]{} ")
        for leniency in grammar.LENIENCIES
        if leniency.grammar in {"CCR", *RO_GROUPS}
    }
    found = (dictionary.BY_NAME[name] for name in names if name in dictionary.BY_NAME)
    return {avp.code: avp.name for avp in found if avp.vendor == dictionary.TGPP}


def holes_of_ro(page: str) -> list[str]:
    """Clauses, subjects and AVPs of Ro and Gy that have no row."""
    rows = [claim for claim in claims(page) if claim.rfc == RO]
    cells = {".".join(map(str, claim.section)) for claim in rows}
    told = page.partition(f"## {RO}")[2].partition("## RFC")[0]
    found = [f"{RO}: no row of clause {clause}" for clause in sorted(RO_CLAUSES - cells)]
    found += [f"{RO}: no row about {subject}" for subject in RO_SUBJECTS if subject not in told]
    found += [
        f"{RO}: no row of AVP {code} {name}"
        for code, name in sorted(avps_of_ro().items())
        if str(code) not in cells
    ]
    found += [f"{RO}: no row of AVP {code}" for code in sorted(RO_STRANGERS) if str(code) not in cells]
    known = {avp.code for avp in dictionary.BY_NAME.values() if avp.vendor == dictionary.TGPP}
    return found + [f"{RO}: AVP {code} is known by now" for code in sorted(RO_STRANGERS & known)]


def holes(page: str) -> list[str]:
    """Sections that are missing: each follows the one before it by one, or opens one level deeper with 1."""
    found = []
    for rfc, last in LAST_SECTIONS.items():
        sections = [claim.section for claim in claims(page) if claim.rfc == rfc]
        before: tuple[int, ...] = (0,)
        for section in sections:
            following = {(*before, 1)} | {(*before[:at], before[at] + 1) for at in range(len(before))}
            if section not in following:
                found.append(f"{rfc}: section {section} follows {before}")
            before = section
        if before[0] != last:
            found.append(f"{rfc}: ends with {before}, not with {last}")
    return found


def strangers(page: str) -> list[str]:
    """What is wrong with the programs of others: tests that do not exist, rows that are not claimed."""
    claimed = {
        f"{claim.rfc}: {'.'.join(map(str, claim.section))}"
        for claim in claims(page)
        if claim.level in {"C", "PC"}
    }
    found = []
    for line in page.partition("## Strangers")[2].partition("## RFC")[0].splitlines():
        found += [
            f"there is no test {name}" for name in NAMED.findall(line) if "::" in name and not exists(name)
        ]
        for rfc, sections in re.findall(r"(RFC [0-9]+): ([0-9., ]+)", line):
            found += [
                f"{rfc}: {section} is not claimed"
                for section in sections.split(", ")
                if f"{rfc}: {section.strip()}" not in claimed
            ]
    return found


def test_the_statement_of_compliance_holds() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert faults(page) == []
    assert strangers(page) == []


@pytest.mark.parametrize(
    "row",
    [
        "| x | y | RFC 6733: 3 | `conformance/test_gone.py::test_x` |",
        "| x | y | RFC 6733: 2.7 | |",
        "| x | y | RFC 6733: 3; RFC 8506: 3.2, 99 | |",
    ],
)
def test_a_stranger_that_proves_nothing_is_found(row: str) -> None:
    page = PAGE.read_text(encoding="utf-8").replace("## RFC", f"{row}\n## RFC", 1)
    assert len(strangers(page)) == 1


def made_up(row: str) -> str:
    """Return the real page with one more row at its end."""
    return f"{PAGE.read_text(encoding='utf-8')}{row}\n"


@pytest.mark.parametrize(
    ("row", "finding"),
    [
        ("| 16.1 | x | C | | |", "no test shows it"),
        ("| 16.1 | x | C | | `house/test_compliance.py::test_that_was_renamed` |", "there is no test house/"),
        ("| 16.1 | x | C | | `house/test_gone.py::test_x` |", "there is no test house/test_gone.py"),
        ("| 16.1 | x | C | | `house/test_compliance.py` |", "there is no test house/test_compliance.py"),
        ("| 16.1 | x | PC | | |", "no remark says why"),
        ("| 16.1 | x | NC | | |", "no remark says why"),
        ("| 16.1 | x | yes | fine | |", "is no level"),
        ("| 16.2 | x | NC | skips one | |", "follows"),
        ("| 17 | x | NC | there is none | |", "ends with"),
    ],
)
def test_each_breach_of_the_statement_is_found(row: str, finding: str) -> None:
    [found] = faults(made_up(row))
    assert finding in found


@pytest.mark.parametrize("rfc", sorted(LAST_SECTIONS))
def test_a_section_that_is_left_out_is_found(rfc: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    lines = page.splitlines()
    heading = next(at for at, line in enumerate(lines) if line.startswith(f"## {rfc}"))
    gone = next(at for at in range(heading, len(lines)) if lines[at].startswith("| 5.3 |"))
    assert holes("\n".join(lines[:gone] + lines[gone + 1 :])) != []


@pytest.mark.parametrize("cell", [*sorted(RO_CLAUSES - {"6.3", "6.4", "6.5"}), "870", "873", "2022", "1266"])
def test_a_clause_or_an_avp_of_ro_that_is_left_out_is_found(cell: str) -> None:
    head, heading, rest = PAGE.read_text(encoding="utf-8").partition(f"## {RO}")
    lines = rest.splitlines()
    gone = next(at for at, line in enumerate(lines) if line.startswith(f"| {cell} |"))
    assert len(holes_of_ro(head + heading + "\n".join(lines[:gone] + lines[gone + 1 :]))) >= 1


@pytest.mark.parametrize("subject", RO_SUBJECTS)
def test_a_subject_of_ro_that_is_left_out_is_found(subject: str) -> None:
    assert holes_of_ro(PAGE.read_text(encoding="utf-8").replace(subject, "")) != []


def test_a_row_that_names_real_tests_passes() -> None:
    name = "house/test_compliance.py::test_a_row_that_names_real_tests_passes"
    assert faults(made_up(f"| 16.1 | x | C | | `{name}` |")) == []
