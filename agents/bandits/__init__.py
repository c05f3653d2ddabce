"""Bandits: linear ones over slates, with every form of forgetting, and tabular ones for checking against papers."""
