"""Executors and tools for agent frameworks, one thin file each. Importing one needs its framework."""
