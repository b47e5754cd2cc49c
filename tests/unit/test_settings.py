from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from ocs.diameter.client_text import KNOWN_CLIENTS
from ocs.settings import Problem, Settings, SettingsFault, config_folder, load


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OCS_")]:
        monkeypatch.delenv(name)


def written(folder: Path, text: str) -> Path:
    file = folder / "mine.toml"
    file.write_text(text)
    return file


def problems(
    file: Path | None = None, options: Mapping[str, Mapping[str, object]] | None = None
) -> tuple[Problem, ...]:
    with pytest.raises(SettingsFault) as raised:
        load(file, options)
    return raised.value.problems


def test_the_shipped_file_says_what_the_defaults_are() -> None:
    assert load() == Settings()


def test_every_key_stands_in_the_shipped_file_with_a_word_about_it() -> None:
    text = (config_folder() / "ocs.toml").read_text()
    shipped = tomllib.loads(text)

    def compare(model: type[BaseModel], table: dict[str, Any]) -> None:
        assert set(table) == set(model.model_fields)
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                compare(field.annotation, table[name])

    compare(Settings, shipped)
    lines = text.splitlines()
    bare = [
        line
        for before, line in pairwise(["", *lines])
        if " = " in line and not line.startswith("#") and before == ""
    ]
    assert bare == []


def test_a_file_need_hold_only_what_differs(tmp_path: Path) -> None:
    settings = load(written(tmp_path, "[charging.grants]\nseconds = 30\n"))
    assert (settings.charging.grants.seconds, settings.charging.grants.octets) == (30, 10_485_760)


def test_environment_covers_the_file_and_options_cover_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, "[diameter]\nport = 1\nwatchdog_s = 7\n[http]\nport = 1\n")
    monkeypatch.setenv("OCS_DIAMETER__PORT", "2")
    monkeypatch.setenv("OCS_HTTP__PORT", "2")
    settings = load(file, {"diameter": {"port": 3, "host": None}, "store": {"url": None}})
    assert (settings.diameter.port, settings.http.port, settings.diameter.watchdog_s) == (3, 2, 7)
    assert settings.diameter.host == "127.0.0.1"


def test_a_list_in_the_environment_is_json_and_covers_the_list_of_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OCS_DIAMETER__PEERS", '[{"origin_host": "pgw.example.org", "address": "10.0.0.0/8"}]')
    (peer,) = load().diameter.peers
    assert (peer.origin_host, peer.origin_realm, peer.address) == (
        "pgw.example.org",
        "*",
        ip_network("10.0.0.0/8"),
    )


def test_all_errors_are_told_at_once_each_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(
        tmp_path, '[diameter]\nprot = 1\n[[diameter.peers]]\norigin_host = "*"\naddress = "10.0.0.1/8"\n'
    )
    monkeypatch.setenv("OCS_CHARGING__CURRENCY", "euro")
    found = {problem.key: problem for problem in problems(file, {"server": {"workers": 0}})}
    assert {key: problem.where for key, problem in found.items()} == {
        "diameter.prot": str(file),
        "diameter.peers[0].address": str(file),
        "charging.currency": "environment OCS_CHARGING__CURRENCY",
        "server.workers": "option --workers",
    }
    assert found["diameter.prot"].right == "did you mean port?"
    assert found["server.workers"].wrong == "is 0"
    assert "greater than or equal to 1" in found["server.workers"].right
    assert "10.0.0.0/8" in found["diameter.peers[0].address"].right


@pytest.mark.parametrize("name", ["OCS_DIAMETR__PORT", "OCS_DIAMETER__PROT", "OCS_PORT"])
def test_a_mistyped_variable_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert [problem.where for problem in problems()] == [f"environment {name}"]


def test_a_list_that_is_no_json_is_told_beside_the_other_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCS_DIAMETER__PEERS", "[")
    found = problems(written(tmp_path, "[log]\nlevel = 'loud'\n"))
    assert {problem.key for problem in found} == {"OCS_…", "log.level"}


@pytest.mark.parametrize("text", ["[diameter\n", "\udcff"])
def test_a_file_that_is_no_toml_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(text.encode(errors="surrogateescape"))
    (problem,) = problems(file)
    assert (problem.where, problem.wrong.startswith("is not TOML")) == (str(file), True)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path / "none.toml")
    assert "cannot be read" in problem.wrong


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("http", {"auth": "off", "host": "0.0.0.0"}),
        ("http", {"auth": "maybe"}),
        ("http", {"host": "0.0.0.0"}),
        ("http", {"host": "::"}),
        ("http", {"host": "0.0.0.0", "auth": "off", "plain": True}),
        ("http", {"tls": {"certificate": "a.pem"}}),
        ("http", {"tls": {"key": "a.key"}}),
        ("http", {"tls": {"ca": "ca.pem"}}),
        ("http", {"tls": {"certificate": "a.pem", "key": "a.key", "require_client_certificate": True}}),
        ("http", {"tls": {"minimum": "1.1"}}),
        ("http", {"rate": -1}),
        ("http", {"burst": 0}),
        ("http", {"token_s": 5}),
        ("http", {"proxies": ["proxy.example.org"]}),
        ("diameter", {"tls": {"port": 5868}}),
        ("diameter", {"tls": {"port": 5868, "certificate": "c.pem", "key": "k.pem"}}),
        ("diameter", {"host": "everywhere"}),
        ("diameter", {"watchdog_s": 5}),
        ("diameter", {"origin_host": "two words"}),
        ("store", {"url": "postgresql://x"}),
        ("store", {"deadline_ms": 5000}),
        ("store", {"durability": "no"}),
        ("store", {"replicas": 1}),  # the embedded store has none
    ],
)
def test_what_is_unsafe_or_impossible_is_refused(section: str, values: dict[str, object]) -> None:
    assert len(problems(None, {section: values})) == 1


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("http", {"auth": "off", "host": "::1"}),
        ("http", {"host": "0.0.0.0", "plain": True}),
        ("http", {"host": "0.0.0.0", "tls": {"certificate": "a.pem", "key": "a.key"}}),
        ("http", {"rate": 0}),
        ("http", {"proxies": ["10.0.0.1", "192.0.2.0/24"]}),
        ("store", {"replicas": 1, "url": "sentinel://a:26379/ours"}),
        ("diameter", {"tls": {"port": 5868, "certificate": "c", "key": "k", "ca": "a"}}),
        (
            "diameter",
            {"tls": {"port": 5868, "certificate": "c", "key": "k", "require_client_certificate": False}},
        ),
        ("diameter", {"host": "::", "port": 0}),
        ("store", {"url": "cluster://a:1,b:2"}),
    ],
)
def test_what_is_meant_is_accepted(section: str, values: dict[str, object]) -> None:
    load(None, {section: values})


def test_no_secret_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCS_STORE__PASSWORD", "hunter2")
    monkeypatch.setenv("OCS_STORE__URL", "redis://u:hunter2@host:6379")
    settings = load()
    assert settings.store.password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings)
    monkeypatch.setenv("OCS_STORE__URL", "http://u:hunter2@host:6379")
    (problem,) = problems()
    assert (problem.key, "hunter2" in str(problem)) == ("store.url", False)
    monkeypatch.delenv("OCS_STORE__URL")
    (problem,) = problems(None, {"store": {"password": 70707}})
    assert (problem.key, "70707" in str(problem)) == ("store.password", False)


def test_folders_that_are_not_set_follow_from_others(tmp_path: Path) -> None:
    settings = load(None, {"server": {"data_dir": tmp_path}})
    assert settings.archive_folder == tmp_path / "archive"
    assert settings.tariffs_folder == config_folder() / "tariffs"
    assert settings.products_folder == config_folder() / "products"
    assert load(None, {"charging": {"products_dir": "sold"}}).products_folder == Path("sold")
    assert load(None, {"archive": {"dir": "elsewhere"}}).archive_folder == Path("elsewhere")


def test_settings_do_not_change_after_start() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().diameter.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("written_so", "key", "wrong"),
    [
        (
            "[diameter.profiles.mine]\nreautorise = false\n",
            "diameter.profiles.mine.reautorise",
            "did you mean reauthorise?",
        ),
        (
            '[diameter.profiles.mine]\nfarewell = "bye"\n',
            "diameter.profiles.mine.farewell",
            "'disconnect' or 'close'",
        ),
        ('[diameter.profiles."Mine!"]\n', "diameter.profiles.Mine!.[key]", "pattern"),
        (
            '[diameter.profiles.mine]\norigin_hosts = ["a b"]\n',
            "diameter.profiles.mine.origin_hosts[0]",
            "pattern",
        ),
        (
            '[[diameter.peers]]\norigin_host = "*"\naddress = "10.0.0.1"\nprofile = "open5g"\n',
            "diameter",
            "known are freediameter, kamailio, open5gs, python-diameter, strict",
        ),
        (
            '[[diameter.peers]]\norigin_host = "*"\naddress = "10.0.0.1"\nprofil = ""\n',
            "diameter.peers[0].profil",
            "did you mean profile?",
        ),
    ],
)
def test_a_profile_that_is_not_right_is_told_with_what_would_be(
    written_so: str, key: str, wrong: str, tmp_path: Path
) -> None:
    (problem,) = problems(written(tmp_path, written_so))
    assert problem.key == key
    assert wrong in str(problem)


def test_known_clients_need_not_be_written_and_may_be_written_anew(tmp_path: Path) -> None:
    settings = load(
        written(tmp_path, "[diameter.profiles.open5gs]\nabort = false\n[diameter.profiles.mine]\n")
    )
    profiles = settings.diameter.profiles
    assert set(profiles) == {*KNOWN_CLIENTS, "mine"}
    assert (profiles["open5gs"].reauthorise, profiles["open5gs"].abort) == (True, False)
    assert profiles["kamailio"] == KNOWN_CLIENTS["kamailio"]
