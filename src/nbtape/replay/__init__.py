"""Rerun a recorded notebook with papermill and report how each cell compares.

The comparison rules are in `replay.compare`; restoring a session to continue it is `session.resume`.
"""
