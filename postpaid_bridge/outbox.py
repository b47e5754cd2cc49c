"""What goes to the charging server by the outbox, in words that it takes (pure).

Laws
1. A row's key is the id of what it becomes there: the same id again moves nothing twice (ocs/balance/actions.py). The channel is ours alone.
2. What is more than one action may move is as many actions as it takes, with ids that the row's key and amount alone make.
3. The charging server knows an id for 30 days. What was begun longer ago and is not known to be done, nobody can tell: a human looks.
"""

from ocs.limits import TOPUP_KEPT_MS, TOPUP_MICROS_MAX

__all__ = ["CERTAIN_MS", "CHANNEL", "parts_of", "pause_ms", "row_key"]

CHANNEL = "bridge"
CERTAIN_MS = TOPUP_KEPT_MS - 2 * 3_600_000
"""Age of a first try up to which asking again is safe; an hour below what the charging server itself goes by."""
_PAUSE_MS = 1_000


def parts_of(key: str, amount_micros: int, most_micros: int = TOPUP_MICROS_MAX) -> list[tuple[str, int]]:
    """Return the actions, id and amount, that a signed amount becomes; they add up to it, and one alone has the row's own key."""
    if abs(amount_micros) <= most_micros:
        return [(key, amount_micros)] if amount_micros else []
    sign = 1 if amount_micros > 0 else -1
    whole, rest = divmod(abs(amount_micros), most_micros)
    amounts = [most_micros] * whole + ([rest] if rest else [])
    return [(f"{key}.{number}", sign * each) for number, each in enumerate(amounts, 1)]


def row_key(action_id: str) -> str:
    """Return the key of the row that an action's id was made of."""
    return action_id.partition(".")[0]


def pause_ms(tries: int, most_ms: int) -> int:
    """Return how long to wait before the next try, after so many (1 or more): doubled from a second."""
    return min(_PAUSE_MS << min(tries - 1, 40), most_ms)
