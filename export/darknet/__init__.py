"""Darknet's ``.cfg`` and ``.weights``: read, held to what is known, and written as a graph."""
