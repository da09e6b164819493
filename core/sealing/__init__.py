"""Columns that are sealed with the key of the installation: `fields` for models, `columns` for work on whole tables."""
