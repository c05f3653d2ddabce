"""The network whose last layer is the representation: trained in torch, served in NumPy."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from perennial.agents.mf_transformer.parameters import Parameters, Weight

Floats = NDArray[np.float32]


def layout(inputs: int, hidden: int, width: int, slots: int) -> dict[str, Weight]:
    """Two layers of rectifiers, ``hidden`` and ``width`` wide, then click = z . out + bias + a bias per slot."""
    return {
        "W1": Weight((inputs, hidden), spread=math.sqrt(2 / inputs), decay=True),
        "b1": Weight((hidden,)),
        "W2": Weight((hidden, width), spread=math.sqrt(2 / hidden), decay=True),
        "b2": Weight((width,)),
        "out": Weight((width,), spread=math.sqrt(1 / width), decay=True),
        "bias": Weight((1,)),
        "slots": Weight((slots,)),
    }


def forward(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """float32 (n, width): the representation of rows x (n, inputs)."""
    first = torch.relu(torch.addmm(weights["b1"], x, weights["W1"]))
    return torch.relu(torch.addmm(weights["b2"], first, weights["W2"]))


def represent(weights: dict[str, Floats], x: Floats) -> Floats:
    """float32 (B, M, width + 1): what `forward` gives for rows x (B, M, inputs), and a constant 1.

    One product a page, so that a page's bits do not depend on how many others stand beside it.
    """
    first = x @ weights["W1"]
    np.maximum(np.add(first, weights["b1"], out=first), 0.0, out=first)
    z = np.ones((*x.shape[:-1], weights["W2"].shape[1] + 1), dtype=np.float32)
    np.maximum(first @ weights["W2"] + weights["b2"], 0.0, out=z[..., :-1])
    return z


def step(parameters: Parameters, x: Floats, clicks: NDArray[np.bool_], rate: float, decay: float, clip: float) -> float:
    """One step down the mean squared error of P pages' clicks, x (P, K, inputs) and clicks (P, K). The error before."""
    weights = parameters.views()
    z = forward(weights, torch.from_numpy(x.reshape(-1, x.shape[-1])))
    predicted = (z @ weights["out"] + weights["bias"]).view(clicks.shape) + weights["slots"]
    loss = (predicted - torch.from_numpy(clicks.astype(np.float32))).square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    parameters.step(rate, decay, clip)
    return float(loss.detach())


def arrays(parameters: Parameters) -> dict[str, Floats]:
    """Copies of the weights for serving."""
    return {name: view.detach().numpy().copy() for name, view in parameters.views().items()}
