"""Graph passes, one in each module: pattern, replacement, why both are equal, and what the replacement saves."""
