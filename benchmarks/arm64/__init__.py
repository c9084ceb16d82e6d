"""The device install on arm64, under qemu: the same boxes as on this machine?"""
