"""Random sessions with random faults, on every kind of kernel; `scripts/stress-test --help` describes them."""
