"""Behavioural probes: they only call the learner."""
