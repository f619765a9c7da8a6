"""The one error of this package."""


class WeightsError(RuntimeError):
    """Weights that cannot be read, or do not belong to the model."""
