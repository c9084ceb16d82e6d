"""Semantic segmentation: from trained networks to graphs that give the scores of every class over the picture."""
