"""A tariff as it is written: its text, and the texts of the numbering plan that it names, with their digests; pure.

Laws
1. What is read here is what a server reads from files: the same readers, the same faults.
2. The digest tells the content alone: neither the names of files, nor when the tariff counts from where its text does not say so.
3. What sessions were charged on is told by what the text says, without comments, layout and the plan: a numbering plan grows, and
   a session keeps its zone itself.
"""

import hashlib
import json
from collections.abc import Iterable, MutableMapping
from dataclasses import replace
from typing import NamedTuple

from ocs.rating.document import document
from ocs.rating.numbering import Numbering, read_numbering
from ocs.rating.tariff import Tariff, read_tariff

_DIGEST_OCTETS = 16


class WrittenPlan(NamedTuple):
    """A numbering plan's text, and the tables that it names: pairs of a name and a text."""

    text: str
    tables: tuple[tuple[str, str], ...]

    @property
    def digest(self) -> str:
        """Return a name of the content."""
        return _digest((self.text, *(part for table in self.tables for part in table)))


class Written(NamedTuple):
    """One version of a tariff: its text, and the plan that it names."""

    text: str
    plan: WrittenPlan | None

    @property
    def digest(self) -> str:
        """Return a name of the content, the plan's included."""
        return _digest((self.text, self.plan.digest if self.plan is not None else ""))

    @property
    def said(self) -> str:
        """Return a name of what the text says (law 3); DocumentFault where it is no YAML."""
        return _digest((json.dumps(document(self.text, "tariff").content, default=str),))

    def tariff(
        self, source: str, plans: MutableMapping[str, Numbering], effective_ms: int | None = None
    ) -> Tariff:
        """Read it; ``plans`` keeps what was read by digest, ``effective_ms`` takes the place of what the text says.

        Raises DocumentFault with every fault.
        """
        named: dict[str, Numbering] = {}
        if self.plan is not None:
            digest = self.plan.digest
            if digest not in plans:
                plans[digest] = read_numbering(
                    self.plan.text, f"{source}, its numbering plan", dict(self.plan.tables)
                )
            named[plans[digest].name] = plans[digest]
        found = read_tariff(self.text, source, named)
        return found if effective_ms is None else replace(found, effective_ms=effective_ms)


def _digest(parts: Iterable[str]) -> str:
    """Digest texts so that no two lists of texts look alike."""
    found = hashlib.blake2b(digest_size=_DIGEST_OCTETS)
    for part in parts:
        octets = part.encode()
        found.update(b"%d " % len(octets))
        found.update(octets)
    return found.hexdigest()
