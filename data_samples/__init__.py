"""Small bundled samples and the seeded generators that made them; see README.md in this folder."""
