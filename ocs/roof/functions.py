"""The Redis functions, loaded by hand: a server does it by itself when it meets a store without them."""

from ocs.balance.functions import NAME, library
from ocs.roof import say
from ocs.roof.build import Keepers, run
from ocs.roof.place import Place


def load(place: Place, *, as_json: bool) -> None:
    """Load the function library of this version on every master."""

    async def work(keepers: Keepers) -> list[str]:
        masters = keepers.store.masters()
        for master in masters:
            await keepers.store.execute_at(master, "FUNCTION", "LOAD", "REPLACE", library())
        return masters

    masters = run(place, work)
    if as_json:
        say.as_json({"library": NAME, "masters": masters})
    else:
        say.line(f"{NAME} is loaded on {', '.join(masters)}")
