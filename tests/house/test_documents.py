"""Documents name only commands that exist: every `$ …` line of a `console` block is parsed, none is run."""

from __future__ import annotations

import importlib
import re
import shlex
from typing import Any, NamedTuple

import pytest

from tests.house.source import ROOT, tracked

BLOCK = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)


class Shown(NamedTuple):
    """One command line of a document."""

    where: str
    line: str


def shown(page: str, text: str) -> list[Shown]:
    """The commands of a page's console blocks; a line that ends with a backslash goes on in the next."""
    return [
        Shown(page, line[2:].strip())
        for block in BLOCK.findall(text)
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("$ ")
    ]


def all_shown() -> list[Shown]:
    pages = [file for file in tracked() if file.suffix == ".md"]
    return [
        command for file in pages for command in shown(file.relative_to(ROOT).as_posix(), file.read_text())
    ]


def fault(command: Any, arguments: list[str]) -> str | None:
    """Why a command line does not parse, or None; the command itself is not run."""
    name = "ocs"
    while hasattr(command, "get_command"):
        if not arguments:
            return f"{name} wants a command"
        inner = command.get_command(command.make_context(name, [], resilient_parsing=True), arguments[0])
        if inner is None:
            return f"{name} knows no command {arguments[0]!r}"
        command, name, arguments = inner, arguments[0], arguments[1:]
    try:
        command.make_context(name, list(arguments)).close()
    except Exception as error:  # noqa: BLE001 - whatever the parser says is the finding
        return f"{name}: {error}"
    return None


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def ocs_command() -> Any:
    """The `ocs` command as its parser sees it: `ocs.__main__.app` is the typer application."""
    typer_main = importlib.import_module("typer.main")
    return typer_main.get_command(importlib.import_module("ocs.__main__").app)


def test_documents_show_only_commands_that_exist() -> None:
    wrong = []
    for where, line in all_shown():
        words = [word for word in shlex.split(line, comments=True) if not re.fullmatch(r"[A-Z_]+=.*", word)]
        if words[:1] == ["ocs"]:
            reason = fault(ocs_command(), words[1:])
            wrong += [f"{where}: {line}: {reason}"] if reason else []
        elif words[:1] == ["make"]:
            wrong += [f"{where}: {line}" for word in words[1:] if word not in make_targets()]
    assert wrong == []


def test_a_console_block_is_read() -> None:
    text = "x\n```console\n$ ocs balance 49 \\\n  --json\n{...}\n$ make demo\n```\n```\n$ not me\n```\n"
    assert [command.line for command in shown("a.md", text)] == ["ocs balance 49    --json", "make demo"]


@pytest.mark.parametrize(
    ("arguments", "right"),
    [(["go", "x"], True), (["go"], False), (["went"], False), (["go", "x", "--fast"], False), ([], False)],
)
def test_an_unknown_command_or_option_is_seen(arguments: list[str], right: bool) -> None:  # noqa: FBT001
    typer = importlib.import_module("typer")
    app = typer.Typer()

    @app.callback()
    def top() -> None:
        """A command with one command below it."""

    @app.command()
    def go(place: str) -> None:
        raise AssertionError(place)

    command = importlib.import_module("typer.main").get_command(app)
    assert (fault(command, arguments) is None) == right
