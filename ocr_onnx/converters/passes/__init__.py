"""Rewrites of graphs: one in each module."""
