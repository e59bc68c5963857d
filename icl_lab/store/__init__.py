"""What is kept on disk: run directories, checkpoints, snapshots, results and claims."""
