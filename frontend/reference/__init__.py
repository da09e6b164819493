"""The reference of our API, as pages."""
