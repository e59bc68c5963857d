"""Trains the small subject in a process of its own, to be killed: python trainer.py DIRECTORY RESULT."""

import sys
from pathlib import Path

import numpy as np

from icl_lab.commands.train import TrainedSubject, train_subject
from icl_lab.config.config import parse_config

CONFIG = {
    "name": "killed",
    "subjects": {
        "a": {
            "task": {"kind": "linear_regression", "dimension": 2, "examples": 4},
            "model": {"layers": 1, "heads": 1, "width": 8},
            "training": {"steps": 240, "batch": 8, "chunk": 10, "schedule": "cosine", "learning_rate": 0.01},
            "ensemble": {"pool": [2, 16]},
        }
    },
}


def train(directory: Path) -> TrainedSubject:
    """A checkpoint after each of its 26 chunks, so that a kill may hit one being written."""
    subject = parse_config(CONFIG, "trainer").subjects["a"]
    return train_subject("a", subject, directory, snapshots=5, checkpoint_seconds=0)


if __name__ == "__main__":
    np.savez(sys.argv[2], **train(Path(sys.argv[1])).history)
