"""Outlets of alerts besides standard output: a program, an MQTT broker, a web server of this machine."""
