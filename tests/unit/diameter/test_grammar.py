"""The grammars: the notation, and what is bound."""

import pytest

from ocs.diameter.dictionary import BY_NAME
from ocs.diameter.grammar import (
    COMMANDS,
    ERROR_ANSWER,
    GROUPS,
    LENIENCIES,
    MANY,
    TOLERANT,
    Leniency,
    Rule,
    grammar_rules,
    rules,
)

TEXTS = {command.name: command.grammar for command in COMMANDS} | GROUPS | {"ERROR": ERROR_ANSWER}


def test_the_notation_reads_as_the_standards_mean_it() -> None:
    assert rules("< A > { B } [ C ] *[ D ] 1*{ E-1 } *32[ F ]") == [
        Rule("A", 1, 1, listed=False),
        Rule("B", 1, 1, listed=False),
        Rule("C", 0, 1, listed=False),
        Rule("D", 0, MANY, listed=True),
        Rule("E-1", 1, MANY, listed=True),
        Rule("F", 0, 32, listed=True),
    ]


@pytest.mark.parametrize("name", TEXTS)
def test_every_word_of_a_grammar_is_read_and_known(name: str) -> None:
    text = TEXTS[name]
    read = rules(text)
    assert len(read) == sum(text.count(bracket) for bracket in "<{[")
    assert {rule.name for rule in read} <= BY_NAME.keys()
    assert len({rule.name for rule in read}) == len(read)


def test_every_message_of_base_and_credit_control_is_there_as_request_and_answer() -> None:
    found = {(command.application, command.code, command.request) for command in COMMANDS}
    assert found == {
        (application, code, request)
        for application, codes in ((0, (257, 280, 282)), (4, (258, 272, 274)))
        for code in codes
        for request in (True, False)
    }


@pytest.mark.parametrize("leniency", LENIENCIES, ids=lambda row: f"{row.grammar} {row.rule}")
def test_a_leniency_changes_its_grammar_and_says_why(leniency: Leniency) -> None:
    (lenient,) = rules(leniency.rule)
    strict = {rule.name: rule for rule in rules(TEXTS[leniency.grammar])}.get(lenient.name)
    in_force = {rule.name: rule for rule in grammar_rules(leniency.grammar, TEXTS[leniency.grammar])}
    assert in_force[lenient.name] == lenient._replace(twice=leniency.twice)
    assert strict != in_force[lenient.name]
    assert 1 <= leniency.clients <= 26
    assert leniency.why


def test_nothing_but_the_listed_leniencies_softens_a_grammar() -> None:
    softened = {
        (name, rule.name)
        for name, text in TEXTS.items()
        for rule in grammar_rules(name, text)
        if rule not in rules(text)
    }
    assert softened == {(row.grammar, rules(row.rule)[0].name) for row in LENIENCIES}


def test_the_tolerant_group_is_a_group() -> None:
    assert TOLERANT in GROUPS
