"""The program of a local Jupyter server, in its own process, and the files it reports its status in."""
