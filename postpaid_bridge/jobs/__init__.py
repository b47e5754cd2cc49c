"""The bridge's jobs: thin and restartable; what they know is in the database."""
