"""Learners of stable-baselines3, over slates."""
