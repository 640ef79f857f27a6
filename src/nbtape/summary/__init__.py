"""Read a recorded run and summarize it: status, cells, environment.

Converting a run to other formats is `export`; following one that still runs is `watch`.
"""
