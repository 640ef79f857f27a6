"""Follow a session of another process while it is recorded, as events or as a live web page."""
