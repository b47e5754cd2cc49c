"""New subscribers as command line and HTTP make them: the tariff is judged, and a balance that has a life is put on the agenda."""

from ocs.balance.accounts import Account, Accounts, NewSubscriber
from ocs.balance.lives import note_life
from ocs.balance.parts import Parts
from ocs.balance.stored_book import ENDLESS, UNUSED
from ocs.clock import Clock
from ocs.outcomes import Code
from ocs.rating.life import Life
from ocs.rating.tariff import Tariff
from ocs.rating.versions import Tariffs


class TariffRefused(ValueError):
    """A tariff that no subscriber can have; ``is_known`` tells whether there is one of the name."""

    def __init__(self, text: str, *, is_known: bool) -> None:
        super().__init__(text)
        self.is_known = is_known


def tariff_given(tariffs: Tariffs, name: str, currency: str, now_ms: int) -> Tariff:
    """Return the version of a tariff that a new subscriber begins with; none that counts yet: the first to come. Raises TariffRefused."""
    versions = tariffs.versions(name)
    if not versions:
        raise TariffRefused(f"no tariff {name[:64]!r}; known are {', '.join(tariffs.names)}", is_known=False)
    for each in versions:
        if each.currency != currency:
            raise TariffRefused(
                f"tariff {each.name} is in {each.currency}, accounts are kept in {currency}", is_known=True
            )
    return tariffs.newest(name, now_ms) or min(versions, key=lambda each: each.effective_ms)


def unused_until_ms(life: Life) -> int:
    """Return where the life of a new balance ends (stored_book.py)."""
    return UNUSED if life.first_ms else ENDLESS


async def create_with_life(
    parts: Parts,
    accounts: Accounts,
    clock: Clock,
    life: Life,
    new: NewSubscriber,
    credit_micros: int = 0,
    shared: Account | None = None,
    cap_micros: int = 0,
    content: str = "",
) -> tuple[Code, Account]:
    """Create one (accounts.py, create); a balance with a life is put on the agenda, also where a create that died had not come to it."""
    code, account = await accounts.create(new, credit_micros, shared, cap_micros, content)
    profile = account.profile
    if account.book.until_ms and not profile.member and not account.ended:
        now_ms = clock.now_ms() + (await parts.epoch(profile.partition)).offset_ms
        await note_life(parts, account, now_ms + life.first_ms + life.grace_ms)
    return code, account
