"""A creditor's bar on both sides (charging/barring.py)."""

from typing import NamedTuple

from hypothesis import strategies as st

from ocs.balance.bars import set_bar
from ocs.balance.profiles import write_profile
from ocs.outcomes import Code
from tests.property.pair import Pair
from tests.property.script_words import accounts


class Bar(NamedTuple):
    """A creditor's bar or its end; one that is ``late`` comes behind a command of its epoch, and changes nothing."""

    account: int
    scope: str
    late: bool


bar_steps = st.builds(
    Bar, accounts, st.sampled_from(("outgoing", "all", "", "")), st.sampled_from((False, False, True))
)


async def bar(pair: Pair, step: Bar) -> None:
    """Bar a subscriber, or lift it, on both sides."""
    index, scope, late = step
    partition, account, member = pair.homes[index]
    stored = await pair.stored(index)
    epoch = stored.profile.bar_epoch + (not late)
    after = stored.profile._replace(barred=scope, bar_epoch=epoch)
    done = await set_bar(pair.accounts, partition, stored.profile.path, scope, epoch)
    if stored.ended:
        assert done.code is (Code.LIMIT if not epoch else Code.UNKNOWN_SUBSCRIBER)
    elif late:
        assert done.code is (Code.EXISTS if epoch else Code.LIMIT)
    else:
        model = pair.models[partition]
        expected = model.amend(
            account, pair.charged.now_ms, profile=write_profile(after), member=member, barred=scope
        )
        assert done.code == expected
