"""Jupyter servers in Docker containers: the image, the isolation, and the life of one container."""
