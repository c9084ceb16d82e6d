"""Checkpoint files to tensors and settings, without running code that they carry."""
