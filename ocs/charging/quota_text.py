"""What config says about the quota of services, as it is written ([charging.quota] of config/ocs.toml), and what is wrong with it.

Laws
1. What is not written changes nothing: without this table every answer stays what it is.
2. A rating group says only what differs from its family; what is wrong with the two together is told.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ocs.charging.final_units import a_filter, a_rule, an_address, faults
from ocs.money import AmountError, parse_amount
from ocs.units import Unit

FAMILIES = ("data", "voice", "sms", "mms")
OWN_UNIT = {"data": Unit.OCTETS, "voice": Unit.SECONDS, "sms": Unit.EVENTS, "mms": Unit.EVENTS}
"""The unit in which the sizes of a family are written."""

NUMBER_MAX = (1 << 32) - 1
"""The greatest Unsigned32, which times and thresholds are (TS 32.299 clause 7.2)."""
ADAPT_S_MAX = 3_600
"""The longest that a grant which follows the speed of use is to last: with the greatest size, the library's product stays below 2^53."""
POOL_MAX = 100
"""The greatest number of a credit pool."""
_THRESHOLD = re.compile(r"([0-9]{1,10})(%?)")
_ALL = 100


class Threshold(NamedTuple):
    """How much is left of a grant when the client asks again: a share in per cent, or units; both 0: nothing is said."""

    per_cent: int
    units: int


def threshold(text: str) -> Threshold:
    """Read "20%" or "1000000", or nothing; raises ValueError."""
    if not text:
        return Threshold(0, 0)
    found = _THRESHOLD.fullmatch(text)
    if found is not None:
        count = int(found[1])
        if found[2] and 0 < count < _ALL:
            return Threshold(count, 0)
        if not found[2] and 0 < count <= NUMBER_MAX:
            return Threshold(0, count)
    raise ValueError(
        f'{text[:40]!r} is no threshold; write per cent of the grant, as "20%", or units, as "1000000"'
    )


def _a_threshold(text: str) -> str:
    threshold(text)
    return text


def _an_amount(text: str) -> str:
    if text:
        try:
            parse_amount(text)
        except AmountError as fault:
            raise ValueError(str(fault)) from None
    return text


class _Section(BaseModel):
    """As every section of the settings: no unknown key, no change after start."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)


Size = Annotated[int, Field(ge=0, le=1 << 40)]
Seconds = Annotated[int, Field(ge=-1, le=NUMBER_MAX)]


class ServiceText(_Section):
    """What may be said of a family and of a rating group; sizes are in the family's own unit, 0, -1 and "" say nothing."""

    grant: Size = 0
    most: Size = 0
    validity_s: Annotated[int, Field(ge=0, le=86_400)] = 0
    holding_s: Seconds = -1
    consumption_s: Seconds = -1
    threshold: Annotated[str, AfterValidator(_a_threshold)] = ""
    final_action: Literal["TERMINATE", "REDIRECT", "RESTRICT_ACCESS"] = "TERMINATE"
    redirect_to: Annotated[str, AfterValidator(an_address)] = ""
    filter_rules: Annotated[tuple[Annotated[str, AfterValidator(a_rule)], ...], Field(max_length=20)] = ()
    filter_ids: Annotated[tuple[Annotated[str, AfterValidator(a_filter)], ...], Field(max_length=20)] = ()
    final_qos: bool = False
    triggers: bool = False
    tariff_time_change: bool = False
    adapt_s: Annotated[int, Field(ge=0, le=ADAPT_S_MAX)] = 0
    share: Annotated[int, Field(ge=1, le=100)] = 25
    pool: Annotated[int, Field(ge=0, le=POOL_MAX)] = 0


class GroupText(ServiceText):
    """A rating group, and what is otherwise there than in its family."""

    rating_group: Annotated[int, Field(ge=0, le=NUMBER_MAX)]


class FamilyText(ServiceText):
    """A family of services, with the rating groups that differ."""

    rating_groups: Annotated[tuple[GroupText, ...], Field(max_length=1_000)] = ()

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        numbers = [each.rating_group for each in self.rating_groups]
        found = [
            f"rating group {number} stands there twice"
            for number in sorted(set(numbers))
            if numbers.count(number) > 1
        ]
        for group, text in self.services():
            where = "" if group is None else f"rating group {group}: "
            found += [f"{where}{fault}" for fault in faults(text)]
        if found:
            raise ValueError(f"{', '.join(found)}; change the one or the other")
        return self

    def of(self, group: GroupText) -> ServiceText:
        """Return what holds for a rating group: its own words over the family's."""
        family = {name: getattr(self, name) for name in ServiceText.model_fields}
        own = {name: getattr(group, name) for name in group.model_fields_set & family.keys()}
        return ServiceText.model_construct(**(family | own))

    def services(self) -> Iterator[tuple[int | None, ServiceText]]:
        """Give what holds for the family (None), then for each rating group that differs."""
        yield None, self
        for group in self.rating_groups:
            yield group.rating_group, self.of(group)


class QuotaText(_Section):
    """The whole table."""

    low_balance: Annotated[str, AfterValidator(_an_amount)] = ""
    remaining_balance: bool = False
    data: FamilyText = FamilyText()
    voice: FamilyText = FamilyText()
    sms: FamilyText = FamilyText()
    mms: FamilyText = FamilyText()

    def families(self) -> Iterator[tuple[str, FamilyText]]:
        """Give each family with its name."""
        for name in FAMILIES:
            yield name, getattr(self, name)

    def standard(self) -> Self:
        """Return the same without what only AVPs of 3GPP can say (TS 32.299 clause 7.2)."""
        unsaid = {"holding_s": -1, "consumption_s": -1, "threshold": "", "triggers": False}
        families = {
            name: family.model_copy(
                update=unsaid
                | {"rating_groups": tuple(each.model_copy(update=unsaid) for each in family.rating_groups)}
            )
            for name, family in self.families()
        }
        return self.model_copy(update={"low_balance": "", "remaining_balance": False, **families})

    def faults(self, usual: Mapping[str, int]) -> list[str]:
        """Return what is wrong with the sizes, given the usual size of a grant by family."""
        found = []
        for name, family in self.families():
            for group, text in family.services():
                where = f"quota.{name}" if group is None else f"quota.{name}, rating group {group}"
                most = text.most or usual[name]
                if text.pool and text.adapt_s:
                    found.append(
                        f"{where}: what is in a pool does not follow the speed of use; take away pool or adapt_s"
                    )
                if text.grant > most:
                    found.append(f"{where}: grant is {text.grant}, above the most, {most}")
                elif text.adapt_s and (text.grant or usual[name]) >= most:
                    found.append(f"{where}: adapt_s has no room between grant and the most, {most}")
        return found

    @property
    def tells_triggers(self) -> bool:
        """Tell whether any service is told when to ask again."""
        return any(text.triggers for _, family in self.families() for _, text in family.services())

    @property
    def tells_edges(self) -> bool:
        """Tell whether any service is told when its price changes."""
        return any(text.tariff_time_change for _, family in self.families() for _, text in family.services())

    @property
    def tells_balance(self) -> bool:
        """Tell whether answers tell of the balance."""
        return bool(self.low_balance) or self.remaining_balance

    @property
    def tells(self) -> bool:
        """Tell whether answers tell more than the decision."""
        return self.tells_triggers or self.tells_edges or self.tells_balance or self.pools

    @property
    def pools(self) -> bool:
        """Tell whether any service is in a credit pool."""
        return any(text.pool for _, family in self.families() for _, text in family.services())

    @property
    def longest_s(self) -> int:
        """Return the longest life of a grant that is written here; 0: none is."""
        return max(text.validity_s for _, family in self.families() for _, text in family.services())
