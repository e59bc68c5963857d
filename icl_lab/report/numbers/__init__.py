"""Medians, ratios and counts of stored numbers that several figures and tables show."""
