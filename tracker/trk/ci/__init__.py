"""Summaries for CI jobs: runs, their deltas to a baseline, checks and charts, as the forges show them."""
