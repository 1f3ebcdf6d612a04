"""Runs of other trackers and files, taken into the journal with their times: again and again, and never twice."""
