"""Stress tests of any learner: sweeps over changes of the prompt, of its format and of the decoding."""
