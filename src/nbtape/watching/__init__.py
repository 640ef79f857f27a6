"""A session that goes on in another process, followed on the file that it writes; see `nbtape watch`."""
