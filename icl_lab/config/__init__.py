"""The schema of configurations and how they are read: YAML files, options of the command line, nearest names."""
