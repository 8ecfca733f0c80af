"""U-Net segmentation: a class for each pixel."""
