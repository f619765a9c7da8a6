from glean_plus.weights.formats.importer import Imported, import_weights, read_pretrained

__all__ = ['Imported', 'import_weights', 'read_pretrained']
