"""Where kernels come from. Nothing in here knows of notebooks."""
