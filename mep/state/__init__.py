"""The whole state of a MEP as one file: backup, migration, and how a test brings a MEP into a known state.

`file` is the file and its secrets, `sections` what it is made of, `moves` export and import. A room adds its own
part with a module `state_sections` and `sections.register`. See `docs/mep-state.md`.
"""
