"""What examples/train.py learns from, and where it begins."""
