"""Plug-ins for other programs, one module each."""
