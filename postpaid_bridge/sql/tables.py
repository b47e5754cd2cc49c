"""Every table of customers and the bridge: importing this registers them all on ``ocs.sql.metadata``, for revisions and for tests."""

from ocs.care.customers import tables as customers
from postpaid_bridge.sql import dunning, journal, places, receivables, usage

__all__ = ["customers", "dunning", "journal", "places", "receivables", "usage"]
