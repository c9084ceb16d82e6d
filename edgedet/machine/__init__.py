"""Facts about the machine a figure was measured on: hardware, load, clocks, power."""
