"""From folders to a project: images, annotations, checks, split."""
