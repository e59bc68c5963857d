"""Pages: self-contained HTML files of a finished run, a calibration or a power analysis."""
