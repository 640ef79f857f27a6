"""The `.ipynb` on disk: the document, its encoding, atomic writes, the lock, merging and reading.

Nothing here knows a kernel; what fills a notebook is `session`.
"""
