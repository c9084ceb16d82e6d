"""Cameras and streams: the newest frame, what was dropped, and sources that break and come back."""
