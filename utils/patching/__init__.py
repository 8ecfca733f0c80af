"""Pieces of images: where, how augmented, in batches."""
