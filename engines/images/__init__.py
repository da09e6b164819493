"""Container images that travel in packages: their names, and their archives read as what they are, a stranger's bytes."""
