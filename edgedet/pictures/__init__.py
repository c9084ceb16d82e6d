"""Pixels in and out: image files, videos, cameras, folders; drawing, redaction, saving."""
