"""SlateQ: Q-learning over slates, decomposed into items by how a visitor chooses."""

from perennial.agents.slateq.agent import SlateQ

__all__ = ["SlateQ"]
