"""How a tree of settings is read, whichever it is: the charging server's (ocs/settings.py) or the bridge's (postpaid_bridge/roof/settings.py).

Laws of this room:
- From the file, then from environment variables with `__` between levels, then from options (INTERFACE).
- An unknown key is an error. All errors are told at once, each with where it stands and what would be right.
- Secrets, and addresses that may hold one, are never repeated in an error or a representation.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsError

LEVEL = "__"

Key = tuple[str, ...]
T = TypeVar("T", bound="Tree")


class Tree(BaseSettings):
    """A whole tree; built by ``judged``, never by reading the environment on the side."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's signature, here and below
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take the tree as it was laid: each source is asked by itself, to say where an error stands."""
        return (init_settings,)


class Form(NamedTuple):
    """What a tree is: its prefix in the environment, the shipped file, keys that are never shown, options that are not simply --section-key."""

    prefix: str
    shipped: str
    secrets: frozenset[str]
    options: Mapping[str, str]


class Problem(NamedTuple):
    """One thing wrong with the settings."""

    where: str  # "FILE", "environment OCS_X__Y", "option --x"
    key: str  # "diameter.port"
    wrong: str  # what is wrong, without the value of a secret
    right: str  # what would be right

    def __str__(self) -> str:
        """One line for an operator."""
        return f"{self.where}: {self.key}: {self.wrong}; {self.right}"


class SettingsFault(Exception):
    """The settings cannot be used; `problems` holds everything that is wrong with them."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


class Laid(NamedTuple):
    """What file, environment and options say, laid over each other and not judged yet: plain and picklable.

    `origins` tells of each key where it was set, for errors.
    """

    tree: dict[str, Any]
    origins: dict[Key, str]
    problems: tuple[Problem, ...] = ()


def judged(model: type[T], form: Form, laid: Laid) -> T:
    """Judge what was laid; raises SettingsFault with everything that is wrong."""
    problems = list(laid.problems)
    try:
        settings = model(**laid.tree)
    except ValidationError as fault:
        problems += [_problem(error, laid.origins, model, form) for error in fault.errors(include_url=False)]
    else:
        if not problems:
            return settings
    raise SettingsFault(tuple(problems))


def read_laid(
    model: type[Tree], form: Form, path: Path, options: Mapping[str, Mapping[str, object]] | None = None
) -> Laid:
    """Read what `judged` judges.

    `options` holds what was given on the command line, as {"diameter": {"port": 0}}; None means not given.
    """
    problems: list[Problem] = []
    layers = [
        (str(path), _from_file(path, form, problems)),
        ("environment", _from_environment(model, form, problems)),
        ("option", _without_none(options or {})),
    ]
    tree: dict[str, Any] = {}
    origins: dict[Key, str] = {}
    for layer, values in layers:
        tree = _laid_over(tree, values)
        origins |= {key: _origin(layer, key, form) for key in _keys(values)}
    return Laid(tree, origins, tuple(problems))


def _from_file(path: Path, form: Form, problems: list[Problem]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        wrong, right = f"cannot be read: {error.strerror}", "name a readable file with --config"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        wrong, right = f"is not TOML: {error}", f"write it as the shipped config/{form.shipped} is written"
    problems.append(Problem(str(path), "(the file)", wrong, right))
    return {}


def _from_environment(model: type[Tree], form: Form, problems: list[Problem]) -> dict[str, Any]:
    """What the environment says, read by pydantic-settings; a variable that it passes over is a mistyped name."""
    try:
        values = EnvSettingsSource(model)()
    except SettingsError as error:
        right = "write a table or list as JSON"
        problems.append(Problem("environment", f"{form.prefix}…", str(error), right))
        return {}
    known = set(_keys(values))
    for name in sorted(os.environ):
        key = tuple(name[len(form.prefix) :].lower().split(LEVEL))
        if name.startswith(form.prefix) and key not in known:
            problems.append(
                Problem(f"environment {name}", ".".join(key), "unknown key", _nearest(key, model))
            )
    return values


def _without_none(options: Mapping[str, Mapping[str, object]]) -> dict[str, Any]:
    given = {
        section: {key: value for key, value in values.items() if value is not None}
        for section, values in options.items()
    }
    return {section: values for section, values in given.items() if values}


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two layers as one: tables are joined, anything else of the upper layer covers the lower."""
    both = {**below, **above}
    for name in below.keys() & above.keys():
        if isinstance(below[name], Mapping) and isinstance(above[name], Mapping):
            both[name] = _laid_over(below[name], above[name])
    return both


def _keys(values: Mapping[str, Any], above: Key = ()) -> Iterator[Key]:
    """The key of every table and value of a tree."""
    for name, value in values.items():
        yield (*above, name)
        if isinstance(value, Mapping):
            yield from _keys(value, (*above, name))


def _origin(layer: str, key: Key, form: Form) -> str:
    """Where a key was set, in the words of whoever set it."""
    if layer == "environment":
        return f"environment {form.prefix}{LEVEL.join(key).upper()}"
    if layer == "option":
        return "option --" + form.options.get(".".join(key), "-".join(key).replace("_", "-"))
    return layer


def _problem(error: ErrorDetails, origins: Mapping[Key, str], model: type[Tree], form: Form) -> Problem:
    """What an operator needs of one of pydantic's errors; a secret's value stays out of it."""
    names = tuple(str(part) for part in error["loc"])
    where = next((origins[names[:n]] for n in range(len(names), 0, -1) if names[:n] in origins), "defaults")
    key = re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", ".".join(names))
    message, value = error["msg"].removeprefix("Value error, "), error["input"]
    if error["type"] == "extra_forbidden":
        return Problem(where, key, "unknown key", _nearest(names, model))
    if error["type"] == "missing":
        return Problem(where, key, "missing", "it has no default: set it")
    if error["type"] == "value_error":
        wrong, _, right = message.partition("; ")
        return Problem(where, key, wrong, right)
    shown = "has a wrong value" if key in form.secrets or isinstance(value, dict | list) else f"is {value!r}"
    return Problem(where, key, shown, message[:1].lower() + message[1:])


def _nearest(key: Key, tree: type[Tree]) -> str:
    """What may have been meant by an unknown key."""
    model: Any = tree
    for name in key[:-1]:
        if name.isdecimal():
            continue
        if get_origin(model) is dict:
            model = get_args(model)[1]  # the name is whoever's choice
            continue
        field = model.model_fields.get(name) if hasattr(model, "model_fields") else None
        of_many = field is not None and get_origin(field.annotation) is tuple
        model = get_args(field.annotation)[0] if field and of_many else field.annotation if field else None
    known = sorted(getattr(model, "model_fields", None) or tree.model_fields)
    close = difflib.get_close_matches(key[-1], known, n=1)
    return f"did you mean {close[0]}?" if close else f"known here are {', '.join(known)}"
