"""Every table of customers and the bridge: importing this registers them all on ``ocs.sql.metadata``, for revisions and for tests."""

from ocs.care.customers import tables as customers
from postpaid_bridge.sql import (
    bills,
    charges,
    clearing,
    deliveries,
    dunning,
    journal,
    payments,
    places,
    receivables,
    runs,
    statements,
    usage,
)

__all__ = [
    "bills", "charges", "clearing", "customers", "deliveries", "dunning", "journal", "payments", "places", "receivables", "runs", "statements",
    "usage",
]  # fmt: skip
