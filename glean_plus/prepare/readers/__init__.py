"""One module a data set: `read(source)` lists its pictures as they lie on disk after unpacking what was published."""
