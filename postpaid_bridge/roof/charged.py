"""From settings and the charging server's keepers to the jobs of the bridge; nobody else builds them."""

from ocs.rating.versions import Tariffs
from ocs.roof.build import Keepers
from postpaid_bridge.jobs import intake, outbox
from postpaid_bridge.jobs.book_places import BookPlaces
from postpaid_bridge.jobs.intake import Intake
from postpaid_bridge.jobs.outbox import Outbox, Posting
from postpaid_bridge.jobs.reconcile import Reconciliation
from postpaid_bridge.outbox import CHANNEL
from postpaid_bridge.roof.ground import Ground
from postpaid_bridge.sql.intake import Rules
from postpaid_bridge.usage import STANDARD, days_of, service_of

__all__ = ["intake_of", "outbox_of", "reconciliation_of", "rules_of"]


def outbox_of(ground: Ground, keepers: Keepers) -> Outbox:
    """Build what empties the outbox."""
    told = ground.settings.outbox
    return Outbox(
        ground.engine,
        BookPlaces(ground.engine, keepers.parts),
        {"post": Posting(keepers.accounts.actions, ground.clock)},
        outbox.Settings(told.at_once, told.lease_s, told.pause_s_max, told.every_s),
        ground.clock,
    )


def rules_of(ground: Ground, tariffs: Tariffs) -> Rules:
    """Build what intake goes by; what our own outbox does comes back under its channel, and is no news."""
    known = {each.key: each for name in tariffs.names for each in tariffs.versions(name)}
    return Rules(STANDARD, service_of(known), frozenset({CHANNEL}), days_of(ground.settings.zone))


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
