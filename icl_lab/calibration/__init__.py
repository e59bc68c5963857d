"""How far the judge is to be trusted: its verdicts on learners whose function or mechanism is known."""
