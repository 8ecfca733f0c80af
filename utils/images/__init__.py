"""What a file holds: pixels, axes, planes, masks, and how brightness is normalised."""
