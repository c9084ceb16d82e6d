"""A renderer of what a wearable sees: cameras and phones among things that are neither."""
