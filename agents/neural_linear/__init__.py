"""Neural-linear (Riquelme, Tucker and Snoek 2018): features by a network, a Bayesian linear regression on top."""

from perennial.agents.neural_linear.agent import NeuralLinear

__all__ = ["NeuralLinear"]
