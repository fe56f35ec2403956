"""Models: the zoo, languages, metadata, the store on disk, downloads, and the embedded weights."""
