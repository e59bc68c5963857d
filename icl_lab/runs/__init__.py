"""Runs: configuration, run directories, training with checkpoints, results. No room below this one touches the disk."""
