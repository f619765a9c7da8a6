"""What goes wrong for reasons that a user can mend."""


class InspectionError(Exception):
    """A model, data set or folder that cannot be inspected; the message says why, and the way out."""
