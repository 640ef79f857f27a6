"""The `.ipynb` file: the document, its encoding, atomic writes, the lock, merging and reading.

Nothing here depends on kernels; `session` fills notebooks.
"""
