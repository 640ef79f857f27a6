"""Rules that decide whether two outputs say the same.

Pure: nothing here runs code or reads files.
"""
