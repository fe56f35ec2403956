"""The models: the zoo's records, languages, metadata, the store on disk, downloads, and the embedded weights."""
