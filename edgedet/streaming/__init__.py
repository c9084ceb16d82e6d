"""Capture, preparation, inference and delivery at the same time, in order, with nothing waiting that need not."""
