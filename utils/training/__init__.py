"""How a model folder comes to be."""
