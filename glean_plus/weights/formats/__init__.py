from glean_plus.weights.formats.importer import FORMATS, Imported, import_weights, read_pretrained

__all__ = ['FORMATS', 'Imported', 'import_weights', 'read_pretrained']
