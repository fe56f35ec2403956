"""Graph rewrites, one per module."""
