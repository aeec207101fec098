"""A Ray cluster of machines of one CPU each, all of them processes here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from propensity.engine.ray_cluster import OBJECT_STORE, QUIET, TOKEN

WITHOUT_RAY = "Ray is not installed: pip install 'propensity[scale]'"


class Machines(NamedTuple):
    """Address of the head, and the cluster of `ray.cluster_utils`."""

    address: str
    cluster: Any


@contextmanager
def started(count: int) -> Iterator[Machines]:
    """A cluster of so many machines, the head among them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**QUIET, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}.items():
            patch.setenv(name, value)  # before Ray is imported
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        from ray.cluster_utils import Cluster

        settings: dict[str, Any] = {"num_cpus": 1, "object_store_memory": OBJECT_STORE}
        cluster = Cluster(initialize_head=True, head_node_args={**settings, "include_dashboard": False})
        for _ in range(count - 1):
            cluster.add_node(**settings)
        yield Machines(cluster.address, cluster)
        cluster.shutdown()
