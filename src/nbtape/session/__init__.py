"""One recorded session: the executor, its kernel's lifecycle, running a cell, and recording the outputs.

Reading a finished recording is `summary`, `export` and `watch`; rerunning one is `replay`.
"""
