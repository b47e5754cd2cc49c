"""Customers over HTTP: parties (TMF632), customers (TMF629), accounts (TMF666), and a small resource of our own for what those have no room for."""

from ocs.care.customers.http.accounts import routers as account_routers
from ocs.care.customers.http.customers import router as customer_router
from ocs.care.customers.http.ground import Ground
from ocs.care.customers.http.held import router as held_router
from ocs.care.customers.http.parties import router as party_router

__all__ = ["Ground", "routers"]

routers = (party_router, customer_router, *account_routers, held_router)
"""What builds each router from a Ground; all of them are given to ocs.http.app.application."""
