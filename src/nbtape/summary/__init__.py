"""Summarize a recorded run: status, cells, environment.

`export` converts a run to other formats; `watch` follows a run that is still being recorded.
"""
