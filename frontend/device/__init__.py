"""Letting a program in that has shown a code."""
