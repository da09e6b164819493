"""`breakwater`, the command line of the centre: a plain client that knows the HTTP API and nothing of our other rooms."""
