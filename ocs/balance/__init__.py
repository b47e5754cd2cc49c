"""Account Balance Management (TS 32.296 clause 5.2.3): books, sessions and their one atomic call in the store."""
