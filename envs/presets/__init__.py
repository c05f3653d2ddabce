"""Presets fitted to real logs, as JSON written by `perennial-calibrate`."""
