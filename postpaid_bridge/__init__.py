"""The postpaid bridge: rated usage becomes bills, bills are paid or dunned, and dunning reaches back into the charging server."""
