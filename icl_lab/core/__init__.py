"""What every other room builds on: prompts, outcomes, statistics, compiling, errors, files. Imports nothing of ours."""
