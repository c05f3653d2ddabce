"""Matrix factorisation and a session transformer, mixed by a learned gate."""

from perennial.agents.mf_transformer.agent import MfTransformer

__all__ = ["MfTransformer"]
