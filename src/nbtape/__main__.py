"""`python -m nbtape`."""

from __future__ import annotations

from nbtape.cli import main

if __name__ == "__main__":
    main()
