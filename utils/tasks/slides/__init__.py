"""Whole slides: the share of a tissue, and what goes with it."""
