"""Read pages from paths, URLs, bytes, file objects, images and arrays."""
