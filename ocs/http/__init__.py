"""The HTTP door: health, metrics, and the operator's API."""
