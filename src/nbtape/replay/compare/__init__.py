"""Rules that decide whether two outputs are the same. Nothing here runs code or reads files."""
