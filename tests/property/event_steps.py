"""Random one-time events of the scripts: debits, their refunds, enquiries."""

from typing import NamedTuple

from hypothesis import strategies as st

from ocs.charging.ask import NOT_GIVEN, REFUND_ACCOUNT, Ask, AskedService, Event
from ocs.charging.event import write_refund_information
from ocs.names import service_key
from tests.property.pair import Pair
from tests.property.script_words import ABOUT, KEYS, REFUNDS, SESSIONS, accounts, place_of, told, units_of


class OneTime(NamedTuple):
    """A one-time event: its Requested-Action, its services as pairs of a key and units asked for; ``number`` among few.

    A refund with a ``way`` is of the services and the account of an earlier debit, the ``back``-th of them: by its Refund-Information
    ("token"), in its session ("session"), or naming nothing ("newest"). Without, it is of anything.
    """

    account: int
    session: int
    action: int
    number: int
    about: tuple[str | None, str]
    wishes: tuple[tuple[int, int], ...]
    way: str
    back: int


_event_wishes = st.lists(
    st.tuples(
        st.sampled_from((*[0] * 5, 1, 2, 4)),
        st.one_of(
            st.just(NOT_GIVEN),
            st.sampled_from((0, 1, 2, 7, 20, 45, 100, 230)),
            st.integers(0, 1500),
            st.just(10**15),
        ),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda wish: wish[0],
).map(tuple)
_ways = st.sampled_from(("token", "token", "session", "session", "newest", "newest", "any"))
event_steps = st.builds(
    OneTime,
    accounts,
    st.sampled_from((0, 0, 1, 3)),
    st.sampled_from((*[0] * 5, *[1] * 6, 2, 3, 3)),
    st.integers(0, 12),
    st.sampled_from(ABOUT),
    _event_wishes,
    _ways,
    st.integers(0, 4),
)
near_events = st.builds(
    OneTime,
    st.sampled_from((0, 0, 3)),
    st.sampled_from((0, 1)),
    st.sampled_from((*[0] * 5, *[1] * 5, 2, 3)),
    st.integers(0, 30),
    st.sampled_from(
        (*[("data", "")] * 3, ("data", "20801"), ("data", "310410"), *[("voice", "15551234")] * 2, *[("voice", "+4930111")] * 2,
         *[("sms", "")] * 2)
    ),
    st.lists(
        st.tuples(st.sampled_from((0, 0, 1, 2)), st.sampled_from((NOT_GIVEN, NOT_GIVEN, 1, 2, 20, 45, 100, 230))),
        min_size=1,
        max_size=2,
        unique_by=lambda wish: wish[0],
    ).map(tuple),
    _ways,
    st.integers(0, 2),
)  # fmt: skip


def ask_of(pair: Pair, step: OneTime) -> tuple[int, Ask]:
    """Return whose event a step is, and the request."""
    index, session_id, (family, about) = step.account, SESSIONS[step.session], step.about
    services = []
    for each, units in sorted(step.wishes, key=lambda wish: service_key(*KEYS[wish[0]])):
        group, identifier = KEYS[each]
        key = service_key(group, identifier)
        place = place_of(family, group, step.number)
        services.append(AskedService(key, group, identifier, None, units_of(place, units)))
    event, number = Event(step.action), step.number
    debits = [each for each in pair.asks if pair.refundable(*each)]
    if step.action == REFUND_ACCOUNT and step.way != "any" and debits:
        index, debit = debits[-1 - step.back % len(debits)]
        left = pair.refundable(index, debit)
        family, number = debit.family, debit.number + 1 + step.number
        session_id = debit.session_id if step.way == "session" else REFUNDS
        if step.way == "token":
            event = Event(step.action, write_refund_information(debit))
        services = [  # nothing, a part, all, or one more than is left
            asked._replace(
                wanted=units_of(
                    place_of(family, asked.rating_group, step.number),
                    units if units <= 0 else units % (left[asked.key] + 2),
                )
            )
            for asked, (_, units) in zip(debit.services, step.wishes, strict=False)
            if asked.key in left
        ] or services
    return index, pair.event_ask(index, session_id, number, event, tuple(services), family, told(about))


async def play_event(pair: Pair, step: OneTime) -> None:
    """Charge an event on both sides."""
    await pair.event(*ask_of(pair, step))
