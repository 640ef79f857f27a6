"""The version of nbtape."""

__version__ = "0.1.0"
