"""The one error of this package."""


class WeightsError(RuntimeError):
    """Weights that cannot be had or read, or do not belong to the model."""
