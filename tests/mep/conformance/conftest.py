"""The fixtures of the conformance tests."""

from tests.mep.conformance.world import module_world, world

__all__ = ["module_world", "world"]
