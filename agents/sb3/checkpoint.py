"""A stable-baselines3 policy and its optimiser as named arrays, so that a checkpoint holds no code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy

from perennial.agents.validation import saved

Arrays = dict[str, NDArray[Any]]


def prefixed(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """The arrays under ``prefix/<name>``."""
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


def part(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """What `prefixed` put there, copied."""
    cut = len(prefix) + 1
    return {name[cut:]: np.array(array) for name, array in arrays.items() if name.startswith(f"{prefix}/")}


def policy_arrays(policy: BasePolicy) -> Arrays:
    """``policy/<parameter>`` and, flattened, ``optimizer/<index of parameter>/<moment>``."""
    arrays = {f"policy/{name}": tensor.numpy().copy() for name, tensor in policy.state_dict().items()}
    for index, moments in policy.optimizer.state_dict()["state"].items():
        arrays |= {f"optimizer/{index}/{name}": moment.numpy().copy().reshape(-1) for name, moment in moments.items()}
    return arrays


def restore_policy(policy: BasePolicy, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Put back what `policy_arrays` gave, into a policy of the same sizes."""
    weights = {name: saved(arrays, f"policy/{name}", tuple(now.shape)) for name, now in policy.state_dict().items()}
    policy.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    shapes = [parameter.shape for parameter in policy.parameters()]
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, array in part("optimizer", arrays).items():
        index, moment = name.split("/")
        shape = () if moment == "step" else shapes[int(index)]
        moments.setdefault(int(index), {})[moment] = torch.from_numpy(array).reshape(shape)
    groups = policy.optimizer.state_dict()["param_groups"]
    policy.optimizer.load_state_dict({"state": moments, "param_groups": groups})
