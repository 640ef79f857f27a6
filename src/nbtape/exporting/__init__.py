"""Recorded notebooks as something else: a page, a script, a report, a notebook of what worked; see `nbtape export`."""
