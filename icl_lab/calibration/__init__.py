"""Calibration of the judge: its verdicts on learners whose function or mechanism is known."""
