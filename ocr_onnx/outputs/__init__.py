"""Write results as text, JSON and images."""
