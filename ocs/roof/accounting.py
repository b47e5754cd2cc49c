"""Offline charging in a worker: what serves accounting records, where settings say so."""

from collections.abc import Callable

from ocs.balance.book import Book
from ocs.balance.unbilled import Unbilled
from ocs.charging.accounting import read
from ocs.charging.accounting_answer import AccountingAnswers
from ocs.clock import Clock
from ocs.server.accounting import AccountingDesk
from ocs.settings import Settings

REALTIME = {"DELIVER_AND_GRANT": 1, "GRANT_AND_STORE": 2, "GRANT_AND_LOSE": 3}
"""Accounting-Realtime-Required (RFC 6733 section 9.8.7)."""


def unbilled_of(
    settings: Settings, book: Book, worker: str, clock: Clock, tell: Callable[[str], None]
) -> Unbilled:
    """Build what sets aside the records that nobody can be billed for."""
    return Unbilled(book, settings.server.data_dir / "unbilled", worker, clock, tell)


def desk_of(settings: Settings, origin_state_id: int, unbilled: Unbilled) -> AccountingDesk | None:
    """Build what a connection needs to serve accounting records; None where they are not served."""
    diameter, accounting = settings.diameter, settings.accounting
    if not accounting.enabled:
        return None
    answers = AccountingAnswers(
        diameter.origin_host,
        diameter.origin_realm,
        origin_state_id,
        interim_s=accounting.interim_s,
        realtime=REALTIME.get(accounting.realtime_required),
    )
    return AccountingDesk(read, unbilled, answers)
