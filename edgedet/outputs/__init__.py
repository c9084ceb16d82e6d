"""What the numbers of outputs show: what they can be, whether metadata tells the truth, where keypoints lie."""
