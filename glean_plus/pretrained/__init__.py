"""Frozen networks that losses and metrics share."""
