"""What `scripts/bench` measures: `rows.py` says what is compared, `ways/` how each peer does it."""
