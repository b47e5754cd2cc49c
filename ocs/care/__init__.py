"""Customer care: who the customers are, what they hold, and who pays for whom."""
