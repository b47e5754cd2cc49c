"""Texts of messages: each type in each language, amounts and times as people write them."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ocs.notices.notice import TYPES, Notice
from ocs.notices.texts import TextFault, octets, read_texts
from ocs.settings import config_folder

TEXTS = read_texts(config_folder() / "notices", ZoneInfo("Europe/Berlin"))
FACTS: dict[str, str | int] = {
    "amount": 2_000_000_000, "used": 1_600_000_000, "unit": "octets", "percent": 80, "product": "day-pass@1",
    "until": "2026-12-01T11:00:00.000Z", "balance": "4.99", "currency": "EUR",
}  # fmt: skip


@pytest.mark.parametrize("language", ["de", "en"])
@pytest.mark.parametrize("kind", TYPES)
def test_every_type_has_a_text_in_every_language(kind: str, language: str) -> None:
    text = TEXTS.write(Notice("n", kind, 0, "acc", FACTS), language)
    assert all(text)
    assert "$" not in "".join(text)


def test_amounts_octets_and_times_are_written_as_the_language_writes_them() -> None:
    german = TEXTS.write(Notice("n", "allowance.used", 0, "acc", FACTS), "de")
    assert "1,6 GB von 2 GB" in german.body
    assert "01.12.2026 12:00" in german.short
    english = TEXTS.write(Notice("n", "allowance.used", 0, "acc", FACTS), "en")
    assert "1.6 GB of 2 GB" in english.body
    assert "01 Dec 2026 12:00" in english.short
    assert "4,99 EUR" in TEXTS.write(Notice("n", "balance.low", 0, "acc", FACTS), "de").short


@pytest.mark.parametrize("own", ["2026-13-45T99Z", "10.00", "2026-12-01T11Z"])
def test_a_channels_own_id_is_told_as_it_is_whatever_it_looks_like(own: str) -> None:
    """The template "any" tells all facts; an id that looks like a time and is none must not cost its message."""
    facts: dict[str, str | int] = {"channel": "till", "id": own, "amount": "10.00", "balance": "14.20"}
    text = TEXTS.write(Notice("n", "balance.adjusted", 0, "acc", facts), "de")
    assert f"id: {own}" in text.body


def test_short_messages_are_short() -> None:
    for language in TEXTS.languages:
        for kind in TYPES:
            if kind.startswith(("balance", "topup", "allowance", "product", "account")):
                assert len(TEXTS.write(Notice("n", kind, 0, "abcdefgh", FACTS), language).short) <= 160


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1 kB"), (1_550_000, "1.5 MB"), (20 * 10**9, "20 GB")],
)
def test_octets_are_told_in_their_greatest_unit(count: int, text: str) -> None:
    assert octets(count, "en") == text


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("[any]\nsubject='a'\nbody='b'\n", "write subject, body and short"),
        ("[any]\nsubject='a'\nbody='b'\nshort='costs $'\n", "write subject"),
        ('["no.such"]\nsubject="a"\nbody="b"\nshort="c"\n', "no type"),
        ("['balance.low']\nsubject='a'\nbody='b'\nshort='c'\n", "lacks the text"),
        ("[any", "cannot be read"),
    ],
)
def test_a_file_of_texts_that_cannot_be_used_is_told(tmp_path: Path, content: str, fault: str) -> None:
    (tmp_path / "en.toml").write_text(content)
    with pytest.raises(TextFault, match=fault):
        read_texts(tmp_path, ZoneInfo("UTC"))


def test_a_folder_without_texts_is_told(tmp_path: Path) -> None:
    with pytest.raises(TextFault, match="no texts"):
        read_texts(tmp_path, ZoneInfo("UTC"))
