"""Boxes that another program made, taken as the truth: read, compared with, and what differs told apart."""

from edgedet.reference.compare import Comparison, Request, compare
from edgedet.reference.pictures import Reference, open_reference, read_reference

__all__ = ["Comparison", "Reference", "Request", "compare", "open_reference", "read_reference"]
