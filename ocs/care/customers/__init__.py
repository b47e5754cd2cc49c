"""Customers: persons, and companies with branches as a tree; their billing accounts, and the services that they hold."""
