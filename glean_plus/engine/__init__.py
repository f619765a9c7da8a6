from glean_plus.engine.optim import BF16OptimWrapper

__all__ = ['BF16OptimWrapper']
