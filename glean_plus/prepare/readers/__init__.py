"""Functions that list the images of a data set as they lie on disk after unpacking what was published."""
