"""A grid of detectors and settings: every cell exported, evaluated and measured, and resumed after a kill."""
