"""Running checks apart from the server: `runner` is the server's end, `child` the other, `jail` the walls between."""
