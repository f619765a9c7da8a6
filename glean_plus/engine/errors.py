"""What ends a training on purpose."""


class TrainingError(RuntimeError):
    """A training that must not begin, or cannot go on."""
