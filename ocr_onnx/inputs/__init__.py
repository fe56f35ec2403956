"""From a path, an address, bytes or an array to pages."""
