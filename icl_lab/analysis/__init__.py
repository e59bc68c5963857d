"""Labelled arrays of judged, probed and stressed learners. Pure: no disk, no printing."""
