"""A 5G core for the edge's tests: the NEF, BSF and PCF of our own."""

from tests.upf.core5g.conftest import bsf, nef, pcf

__all__ = ["bsf", "nef", "pcf"]
