"""StarDist segmentation: an outline for each object."""
