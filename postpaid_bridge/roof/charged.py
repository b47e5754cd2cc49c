"""From settings and the charging server's keepers to the jobs of the bridge; nobody else builds them."""

from ocs.rating.versions import Tariffs
from ocs.roof.build import Keepers
from postpaid_bridge.jobs import intake, outbox
from postpaid_bridge.jobs.bars import Barring
from postpaid_bridge.jobs.book_places import BookPlaces
from postpaid_bridge.jobs.intake import Intake
from postpaid_bridge.jobs.outbox import Outbox, Posting
from postpaid_bridge.jobs.reconcile import Reconciliation
from postpaid_bridge.outbox import CHANNEL
from postpaid_bridge.roof.ground import Ground
from postpaid_bridge.sql.intake import Rules
from postpaid_bridge.usage import STANDARD, ServiceOf, days_of, service_of

__all__ = ["intake_of", "outbox_of", "reconciliation_of", "rules_of"]


def outbox_of(ground: Ground, keepers: Keepers) -> Outbox:
    """Build what empties the outbox."""
    told = ground.settings.outbox
    barring = Barring(keepers.accounts)
    return Outbox(
        ground.engine,
        BookPlaces(ground.engine, keepers.parts),
        {"post": Posting(keepers.accounts.actions, ground.clock), "bar": barring, "unbar": barring},
        outbox.Settings(told.at_once, told.lease_s, told.pause_s_max, told.every_s),
        ground.clock,
    )


def rules_of(ground: Ground, tariffs: Tariffs) -> Rules:
    """Build what intake goes by; what our own outbox does comes back under its channel, and is no news."""
    return Rules(STANDARD, _Services(tariffs), frozenset({CHANNEL}), days_of(ground.settings.zone))


class _Services:
    """Tells services by all tariffs that are known by now: the charging server learns new ones while we run."""

    def __init__(self, tariffs: Tariffs) -> None:
        self._tariffs = tariffs
        self._count = -1
        self._told: ServiceOf = service_of({})

    def __call__(self, key: str, mark: str, unit: int) -> str | None:
        if len(self._tariffs) != self._count:
            self._count = len(self._tariffs)
            versions = [each for name in self._tariffs.names for each in self._tariffs.versions(name)]
            self._told = service_of({each.key: each for each in versions})
        return self._told(key, mark, unit)


def intake_of(ground: Ground, keepers: Keepers, tariffs: Tariffs) -> Intake:
    """Build what takes in the stream."""
    told = ground.settings.intake
    return Intake(
        ground.engine,
        keepers.parts,
        ground.charging.archive_folder,
        rules_of(ground, tariffs),
        intake.Settings(told.group, told.records_at_once, again_s=told.again_s),
        ground.clock,
    )


def reconciliation_of(ground: Ground, keepers: Keepers) -> Reconciliation:
    """Build one comparison of all books with the journal."""
    return Reconciliation(
        ground.engine,
        keepers.parts,
        keepers.accounts.actions,
        ground.charging.archive_folder,
        ground.settings.reconcile.accounts_at_once,
    )
