"""Detector families: each from its framework's modules or its foreign graph to a graph of the contract."""
