"""Foreign graphs made ours: sizes fixed, full precision, pixels' arithmetic and NMS taken out and noted."""
