"""Evidence that an artifact computes what it should: the golden input, and agreement of two detectors."""
