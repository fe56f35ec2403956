"""Read pages from paths, addresses, bytes, file objects, images and arrays."""
