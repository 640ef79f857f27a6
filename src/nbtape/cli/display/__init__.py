"""Everything the command line prints: run progress, tables, replay verdicts, terminal images, the log.

Nothing else in nbtape prints.
"""
