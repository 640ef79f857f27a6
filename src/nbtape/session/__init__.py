"""One recorded session: the executor, its kernel's lifecycle, running a cell, and recording the outputs.

`summary`, `export` and `watch` read recordings; `replay` reruns them.
"""
