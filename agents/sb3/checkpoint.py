"""A stable-baselines3 learner as named arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import recursive_getattr

from perennial.agents.validation import saved

Arrays = dict[str, NDArray[Any]]


def prefixed(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """The arrays under ``prefix/<name>``."""
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


def part(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """What `prefixed` put there, copied."""
    cut = len(prefix) + 1
    return {name[cut:]: np.array(array) for name, array in arrays.items() if name.startswith(f"{prefix}/")}


def learner_arrays(model: BaseAlgorithm) -> Arrays:
    """All that `model.save` would keep: ``<module>/<parameter>``, ``<optimizer>/<index>/<moment>``, ``<variable>``."""
    parts, variables = model._get_torch_save_params()
    arrays: Arrays = {}
    for name in parts:
        owner = recursive_getattr(model, name)
        given = _moments(owner) if isinstance(owner, torch.optim.Optimizer) else _weights(owner)
        arrays |= prefixed(name, given)
    return arrays | {name: recursive_getattr(model, name).detach().numpy().copy() for name in variables}


def restore_learner(model: BaseAlgorithm, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Put back what `learner_arrays` gave, into a learner of the same sizes; nothing changes if it does not fit."""
    parts, variables = model._get_torch_save_params()
    owners = {name: recursive_getattr(model, name) for name in parts}
    modules = {n: o for n, o in owners.items() if not isinstance(o, torch.optim.Optimizer)}
    weights = {
        name: {
            key: torch.from_numpy(saved(arrays, f"{name}/{key}", tuple(now.shape)))
            for key, now in owner.state_dict().items()
        }
        for name, owner in modules.items()
    }
    plain = {n: saved(arrays, n, tuple(recursive_getattr(model, n).shape)) for n in variables}
    optimizers = {n: _optimizer_state(o, part(n, arrays)) for n, o in owners.items() if n not in modules}
    for name, owner in owners.items():
        owner.load_state_dict(weights[name] if name in weights else optimizers[name])
    for name, array in plain.items():
        recursive_getattr(model, name).data.copy_(torch.from_numpy(array))


def _weights(module: torch.nn.Module) -> Arrays:
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


def _moments(optimizer: torch.optim.Optimizer) -> Arrays:
    return {
        f"{index}/{name}": moment.numpy().copy().reshape(-1)
        for index, moments in optimizer.state_dict()["state"].items()
        for name, moment in moments.items()
    }


def _optimizer_state(optimizer: torch.optim.Optimizer, arrays: Arrays) -> dict[str, Any]:
    """What `load_state_dict` of the optimizer takes."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, array in arrays.items():
        index, moment = name.split("/")
        shape = () if moment == "step" else parameters[int(index)].shape
        moments.setdefault(int(index), {})[moment] = torch.from_numpy(array).reshape(shape)
    return {"state": moments, "param_groups": optimizer.state_dict()["param_groups"]}
