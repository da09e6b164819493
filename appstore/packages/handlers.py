"""Long work of this topic."""
