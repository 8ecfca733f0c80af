"""The engine of the notebooks: forms, images, patches, networks, training, scores, pictures."""
