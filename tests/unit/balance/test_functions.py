import re

import pytest

from ocs.balance.functions import NAME, VERSION, constants, function, library, loadable, source
from ocs.balance.stored_session import SERVICE_FORMAT, SESSION_FORMAT
from tests.real_valkey import RealValkey

TEXT = source()


def test_the_library_and_all_its_functions_carry_the_version() -> None:
    assert TEXT.startswith(f"#!lua name={NAME}\n")
    names = re.findall(r"(?:register_function\(|function_name = )'(\w+)'", TEXT)
    assert len(names) == TEXT.count("redis.register_function")
    assert all(name.endswith(f"_{VERSION}") for name in names)
    assert function("charge") in names


def test_a_real_server_takes_the_library_and_shows_every_function(valkey: RealValkey) -> None:
    with valkey.client(decode_responses=True) as client:
        assert client.execute_command("FUNCTION", "LOAD", library()) == NAME
        (loaded,) = client.function_list()
        pairs = dict(zip(loaded[::2], loaded[1::2], strict=True))
        told = {dict(zip(each[::2], each[1::2], strict=True))["name"] for each in pairs["functions"]}
    assert told == set(re.findall(r"(?:register_function\(|function_name = )'(\w+)'", TEXT))


def test_the_next_version_lives_beside_this_one(valkey: RealValkey) -> None:
    following = TEXT.replace(f"name={NAME}", f"name=ocs_{VERSION + 1}").replace(
        f"_{VERSION}'", f"_{VERSION + 1}'"
    )
    with valkey.client(decode_responses=True) as client:
        client.execute_command("FUNCTION", "LOAD", library())
        assert client.execute_command("FUNCTION", "LOAD", loadable(following)) == f"ocs_{VERSION + 1}"


def test_words_in_capitals_reach_the_store_as_numbers_and_texts_stay() -> None:
    text = "local LEFT, B_RIGHT = 1, 22\nlocal x = { LEFT, 'LEFT', t[B_RIGHT] } -- LEFT\n"
    assert loadable(text) == b"\nlocal x = { 1, 'LEFT', t[22] } -- LEFT\n"
    code = re.sub(rb"'[^'\n]*'|--[^\n]*", b"", library())
    assert re.findall(rb"\b(?:B|S|V|A|P)_[A-Z]+", code) == []


def test_a_session_has_one_format_in_both_languages() -> None:
    formats = re.search(r"SESSION_FORMAT, SERVICE_FORMAT = '(\S+)', '(\S+)'", TEXT)
    assert formats is not None
    assert formats.groups() == (SESSION_FORMAT, SERVICE_FORMAT)


def test_a_word_that_is_two_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="LEFT is 1 in one place of the library and 2 in another"):
        constants("local LEFT = 1\nlocal RIGHT, LEFT = 1, 2\n")


def test_numbers_become_text_by_format_never_by_tostring() -> None:
    code = [line.partition("--")[0] for line in TEXT.splitlines()]
    assert [line for line in code if "tostring" in line] == []


def test_nothing_is_drawn_by_lot_and_no_global_is_made() -> None:
    code = "\n".join(line.partition("--")[0] for line in TEXT.splitlines())
    assert "math.random" not in code
    assert re.findall(r"^(?!local |end|redis|#)\w+.*=", code, re.MULTILINE) == []


def test_every_function_is_local_and_at_most_seventy_lines() -> None:
    lines = TEXT.splitlines()
    starts = [number for number, line in enumerate(lines) if re.match(r"(local )?function ", line)]
    assert starts
    for start in starts:
        assert lines[start].startswith("local function ")
        length = next(n for n, line in enumerate(lines[start:]) if line == "end") + 1
        assert length <= 70, f"{lines[start]}: {length} lines"
