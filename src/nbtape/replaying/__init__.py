"""Recorded notebooks are run again and judged; see `nbtape.replay`."""
