"""Rules that decide whether two outputs are the same. Nothing in this package runs code or reads files."""
