"""What decides: policies over slates that learn from logged feedback. Knows nothing of the simulated shop.

Agents that need PyTorch live in folders of their own (`perennial.agents.mf_transformer`, `perennial.agents.sb3`) and
are imported from there, so that importing this package stays light.
"""

from perennial.agents.base import Agent, Decision, Feedback, Items, Keys, Observations, Spaces
from perennial.agents.exploring import Exploring
from perennial.agents.linucb import LinUCB
from perennial.agents.popular import Popular
from perennial.agents.random_slates import RandomSlates
from perennial.agents.seasonal_naive import SeasonalNaive
from perennial.agents.trending import Trending

__all__ = [
    "Agent",
    "Decision",
    "Exploring",
    "Feedback",
    "Items",
    "Keys",
    "LinUCB",
    "Observations",
    "Popular",
    "RandomSlates",
    "SeasonalNaive",
    "Spaces",
    "Trending",
]
