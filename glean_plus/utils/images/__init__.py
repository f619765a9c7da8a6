"""Image files: pixel values and metadata as they are."""
