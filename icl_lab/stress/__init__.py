"""Stress tests: changes of the prompt, of its format and of how answers are decoded, swept, on any learner."""
