"""Results as files, pictures and text."""
