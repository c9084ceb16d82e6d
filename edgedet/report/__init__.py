"""The trade-off report: accuracy against latency, what to choose for a budget, and what was not measured."""
