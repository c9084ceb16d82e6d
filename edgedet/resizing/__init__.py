"""Frames brought to another size, with the pixels that the framework of a network gives them."""
