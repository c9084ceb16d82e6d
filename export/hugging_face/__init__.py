"""Detectors that transformers saved: from the folder to a graph."""
