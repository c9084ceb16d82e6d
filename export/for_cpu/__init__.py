"""Graph rewrites that make CPUs faster and change no result."""
