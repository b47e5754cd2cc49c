"""The bridge's settings: the shipped file is the defaults, every key is explained, and what is wrong is told with its place."""

import os
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from ocs.settings import config_folder
from postpaid_bridge.roof.commands import options_first
from postpaid_bridge.roof.settings import Settings, SettingsFault, load


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BRIDGE_")]:
        monkeypatch.delenv(name)


def told(file: Path | None = None, **options: dict[str, object]) -> list[str]:
    with pytest.raises(SettingsFault) as raised:
        load(file, options)
    return [str(each) for each in raised.value.problems]


def test_the_shipped_file_says_what_the_defaults_are_and_explains_every_key() -> None:
    assert load() == Settings()
    text = (config_folder() / "bridge.toml").read_text()

    def compare(model: type[BaseModel], table: dict[str, Any]) -> None:
        assert set(table) == set(model.model_fields)
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                compare(field.annotation, table[name])

    compare(Settings, tomllib.loads(text))
    bare = [line for before, line in pairwise(["", *text.splitlines()]) if " = " in line and before == ""]
    assert [line for line in bare if not line.startswith("#")] == []


def test_environment_covers_the_file_and_options_cover_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[http]\nport = 1\nrate = 7\n[operator]\nzone = "Europe/Paris"\n')
    monkeypatch.setenv("BRIDGE_HTTP__PORT", "2")
    monkeypatch.setenv("BRIDGE_OPERATOR__ZONE", "Europe/Vienna")
    settings = load(file, {"http": {"port": 3, "host": None}})
    assert (settings.http.port, settings.http.rate, settings.operator.zone) == (3, 7, "Europe/Vienna")


def test_everything_that_is_wrong_is_told_at_once_and_no_secret_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[database]\nurl = "mysql://joe:geheim@db/x"\n[reconcile]\nat = "25:00"\n[outbox]\nlease_s = 1\n'
    )
    monkeypatch.setenv("BRIDGE_HTTP__PROT", "2")
    found = told(file, charging={"store": "http://joe:geheim@x"})
    assert not any("geheim" in each for each in found)
    assert {each.partition("; ")[0] for each in found} == {
        "environment BRIDGE_HTTP__PROT: http.prot: unknown key",
        f"{file}: database.url: cannot be used",
        "option --store: charging.store: is no address of a store",
        f"{file}: outbox.lease_s: is 1",
        f"{file}: reconcile.at: '25:00' is no time of day",
    }


def test_options_of_every_command_may_stand_anywhere() -> None:
    words = [
        "serve",
        "--database",
        "sqlite:///x",
        "--http-port",
        "0",
        "--store=redis://h",
        "--",
        "--config",
        "f",
    ]
    assert options_first(words) == [
        *("--database", "sqlite:///x", "--store=redis://h"),
        *("serve", "--http-port", "0", "--", "--config", "f"),
    ]
