"""Numbers on agreement."""
