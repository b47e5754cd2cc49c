"""What ends sessions without their clients, as the settings have it: one for the keeper, the API and the commands."""

from ocs.roof.build import Keepers, rules_of
from ocs.sessions.closing import Closing
from ocs.sessions.sweep import Sweeper


def sweeper_of(keepers: Keepers) -> Sweeper:
    """Build it."""
    settings = keepers.settings
    sweeper = Sweeper(keepers.parts, keepers.accounts, keepers.clock, settings.charging.tombstone_s * 1000)
    sweeper.accounting_ms = rules_of(settings).accounting.kept_ms
    return sweeper


def closing_of(keepers: Keepers) -> Closing:
    """Build what ends subscribers with a refund."""
    return Closing(keepers.parts, keepers.accounts, sweeper_of(keepers), keepers.reauthorisation)
