"""Runs: configuration, run directories, training with checkpoints, results. The only room that touches the disk."""
