"""``edgedet check``: settings a checkpoint leaves unsaid, judged by labelled pictures."""
