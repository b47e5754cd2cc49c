"""The bridge's keepers in SQL: each file has its tables, and the units of work on them."""
