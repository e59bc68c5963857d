"""The foundation of all other packages: prompts, outcomes, statistics, compiling, errors, files."""
