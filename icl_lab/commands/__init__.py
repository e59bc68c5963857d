"""The work of each command, and how commands begin, show progress and end."""
