"""A new artifact in the place of an old one: verified, tried on this device, and swapped whole or not at all."""
