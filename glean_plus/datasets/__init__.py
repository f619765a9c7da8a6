from glean_plus.datasets.folders import BROKEN, PictureDataset, Shapes, sizes, some

__all__ = ['BROKEN', 'PictureDataset', 'Shapes', 'sizes', 'some']
