"""One run that measures what only a GPU can tell: ``benchmarks/gpu_day.sh`` starts it, docs/gpu-day.md says how."""
