"""One module a data set: `read(source)` lists its images as they lie on disk after unpacking what was published."""
