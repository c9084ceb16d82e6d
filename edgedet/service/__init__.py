"""Running for good: figures for monitoring, signs of life for systemd, and rest before it is too hot."""
