"""Fit a preset to a shop's logs and say how well it fits; imported by the calibration command only."""
