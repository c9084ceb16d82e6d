"""What training knew of a detector: stated, read from a checkpoint, or assumed and said."""
