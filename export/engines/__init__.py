"""Graphs to TensorRT engines: what the parser takes, the build, the proof, the precision."""
