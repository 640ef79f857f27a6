"""Jupyter servers that nbtape starts and ends."""
