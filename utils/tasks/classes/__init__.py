"""Classification: a class for each image."""
