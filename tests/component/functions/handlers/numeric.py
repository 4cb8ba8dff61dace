"""Uses numpy's global random numbers, which a fork would repeat."""

import numpy as np

np.random.seed(1)  # noqa: NPY002 - the global state is the point


def numbers() -> list[float]:
    found: list[float] = np.random.random(4).tolist()  # noqa: NPY002
    return found
