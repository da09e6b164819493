"""The producer, but each question of a user costs memory that never comes back."""

import web

PIECE = 8 << 20
held = []


def wasteful(routes, port, **options):
    def leaking(path, body):
        held.append(bytearray(b"x") * PIECE)
        return 200, {"held": len(held) * PIECE}

    serve({**routes, ("GET", "/"): leaking}, port, **options)


serve, web.serve = web.serve, wasteful
