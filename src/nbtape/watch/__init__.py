"""Follow a session of another process while it records: as events, and as a live web page."""
