"""Processes of ours: starting one, bounding it, ending it. Imports the standard library alone."""
