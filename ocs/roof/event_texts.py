"""Texts and secrets that messages need, read at the start, so that what is wrong with them is told before anything runs."""

from pathlib import Path
from zoneinfo import ZoneInfo

from ocs.notices.signature import key_of
from ocs.notices.texts import TextFault, Texts, read_texts
from ocs.roof.event_sections import secret_of
from ocs.settings import Settings

__all__ = ["TextFault", "read_messages", "texts_of"]


def texts_of(settings: Settings) -> Texts:
    """Read the texts; raises TextFault where one is missing or wrong that the settings need."""
    events = settings.events
    texts = read_texts(settings.notices_folder, ZoneInfo(events.zone))
    wanted = {events.language, *events.languages.values(), *(each.language for each in events.messages)} - {
        ""
    }
    if missing := wanted - set(texts.languages):
        raise TextFault(f"{settings.notices_folder}: has no {', '.join(sorted(missing))}.toml")
    return texts


def read_messages(settings: Settings) -> None:
    """Judge at the start what messages need; raises TextFault and OSError."""
    events = settings.events
    if events.enabled and events.messages:
        texts_of(settings)
        for secret, file in (
            (events.smtp.password, events.smtp.password_file),
            (events.sms.secret, events.sms.secret_file),
        ):
            secret_of(secret, file)
        if events.sms.url:
            _signs(secret_of(events.sms.secret, events.sms.secret_file))
    _readable(events.callback_ca)


def _signs(secret: str) -> None:
    try:
        key_of(secret)
    except ValueError:
        raise TextFault(
            'events.sms: the secret signs nothing; write "whsec_" and base64, such as of: openssl rand -base64 32'
        ) from None


def _readable(file: Path | None) -> None:
    if file is not None:
        file.read_bytes()
