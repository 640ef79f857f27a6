"""What `scripts/bench` measures: `rows.py` has the comparisons, `ways/` how each peer does the work."""
