"""Probes that look inside a network through its taps."""
