"""Rerun a recorded notebook with papermill and compare each cell; `session.resume` continues one instead."""
