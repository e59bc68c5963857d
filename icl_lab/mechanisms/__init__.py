"""Causal tests of mechanisms inside networks."""
