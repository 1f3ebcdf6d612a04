"""Bundles: runs with their rows and files in one file, to be carried to where they can be delivered."""
