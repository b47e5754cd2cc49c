"""Plans of postpaid services, read from config/plans (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Plan:
    """What a service costs besides its usage; ``prices`` gross or net."""

    key: str
    prices: str


@dataclass(frozen=True, slots=True)
class DiscountPlan:
    """What a billing account has besides its services' plans."""

    key: str


@dataclass(frozen=True, slots=True)
class PlanBook:
    """All plans and discount plans by key."""

    plans: Mapping[str, Plan] = field(default_factory=dict)
    discount_plans: Mapping[str, DiscountPlan] = field(default_factory=dict)
