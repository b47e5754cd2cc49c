"""Events out: notices derived from the stream's records, subscriptions, signed webhooks, dead letters, messages to people (EVENTS.md)."""
