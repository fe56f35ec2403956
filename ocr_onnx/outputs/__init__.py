"""Write results as text, JSON and pictures."""
