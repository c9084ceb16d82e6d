"""Graphs become ncnn's own layers and weights: written layer by layer, proved against the graph, in one file."""
