"""Keeps a deployed policy healthy: log, monitor, decide, retrain, roll out, audit. Knows nothing of any simulator."""
