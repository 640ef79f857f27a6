"""Recorded notebooks as people read them: what a run was, cell by cell; see `nbtape show`."""
