"""Connects to a Ray cluster, or starts one on this machine and stops it."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from propensity.errors import ClusterError, ConfigurationError
from propensity.scratch import scratch_folder

OBJECT_STORE = 80_000_000  # bytes, the least that Ray accepts; results are files
PATIENCE = 10.0  # seconds that the head may be away
CONNECT = 5.0  # seconds for a connection
LONGEST_FOLDER = 44  # characters: the names of sockets in it may not be longer than 107
AGAIN = "start the same command again, and it computes what is missing"
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
TOKEN = secrets.token_hex(32)  # of the clusters that this process starts: no other program can send them tasks


@dataclass
class Head:
    """The process of a cluster that knows its machines and tasks.

    Attributes
    ----------
    address : str
        host:port.
    seen : float
        Monotonic time in seconds at which it last answered.
    """

    address: str
    seen: float = field(default_factory=time.monotonic)

    def require(self) -> None:
        """Check that the head answers.

        Raises
        ------
        ClusterError
            If it has not answered for `PATIENCE` seconds. Ray itself would end this process a minute later, without a
            chance to say why.
        """
        if answers(self.address):
            self.seen = time.monotonic()
        elif time.monotonic() - self.seen > PATIENCE:
            raise ClusterError(f"the head of the cluster at {self.address} is lost; {AGAIN}")


def answers(address: str) -> bool:
    """Whether a server listens at an address.

    Parameters
    ----------
    address : str
        host:port.

    Returns
    -------
    bool
        False if there is no connection within `CONNECT` seconds.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT).close()
    except OSError:
        return False
    return True


def check_form(address: str) -> None:
    """Check the form of an address.

    Parameters
    ----------
    address : str
        `auto` or `host:port`.

    Raises
    ------
    ConfigurationError
        If it has another form.
    """
    host, _, port = address.rpartition(":")
    if address != "auto" and ("/" in address or not host or not port.isdigit() or not 0 < int(port) < 65_536):
        raise ConfigurationError(
            f"engine.address={address} is not host:port of the head of a cluster; give one such as 10.0.0.1:6379, or "
            "auto"
        )


def check_answer(address: str) -> None:
    """Check that something listens at an address, before Ray tries it for minutes.

    Parameters
    ----------
    address : str
        `auto`, which is not checked, or `host:port`.

    Raises
    ------
    ClusterError
        If nothing does.
    """
    if address != "auto" and not answers(address):
        raise ClusterError(
            f"no cluster answers at {address}; start it with ray start --head, or correct engine.address"
        )


@contextmanager
def cluster(address: str | None, workers: int) -> Iterator[Head]:
    """Connect to a cluster, or start one.

    Parameters
    ----------
    address : str, optional
        `auto` or `host:port`; None starts a cluster on this machine, which is stopped at the end.
    workers : int
        Processes of the started cluster.

    Yields
    ------
    Head
        Its head.

    Raises
    ------
    ConfigurationError
        If Ray is not installed.
    ClusterError
        If there is no cluster at the address, it refuses this process, or it has no CPU.
    """
    if address is not None:
        check_answer(address)
    with variables(QUIET if address else {**QUIET, "RAY_AUTH_TOKEN": TOKEN}), python_path(address is None):
        ray = import_ray()
        logging.getLogger("ray").setLevel(logging.ERROR)  # Ray announces that tasks need a token
        if ray.is_initialized():
            raise ConfigurationError("this process uses a Ray cluster already; call ray.shutdown() before engine=ray")
        terminated = signal.getsignal(signal.SIGTERM)
        with short_folder() as folder:
            try:
                connect(ray, address, workers, folder)
                yield Head(ray.get_runtime_context().gcs_address)
            finally:
                ray.shutdown()
                if is_main_thread():
                    signal.signal(signal.SIGTERM, terminated)


def import_ray() -> Any:
    """Ray, or a sentence where it is not installed."""
    try:
        import ray
    except ImportError:
        raise ConfigurationError(
            "engine=ray needs Ray, which is not installed; pip install 'propensity[scale]', or use engine=local"
        ) from None
    return ray


def connect(ray: Any, address: str | None, workers: int, folder: Path) -> None:
    """Make this process a driver of a cluster."""
    own: dict[str, Any] = {"address": address}
    if address is None:
        own = {"address": "local", "num_cpus": workers, "num_gpus": 0, "object_store_memory": OBJECT_STORE}
        own |= {"include_dashboard": False, "_temp_dir": str(folder)}
    try:
        ray.init(**own, configure_logging=False, logging_level="ERROR", log_to_driver=False)
    except Exception as error:  # Ray raises the bare class where a busy machine does not start in time
        place = "Ray does not start on this machine" if address is None else f"the cluster at {address} cannot be used"
        raise ClusterError(
            f"{place} ({' '.join(str(error).split())[:300]}); correct that, or use engine=local"
        ) from None
    if ray.cluster_resources().get("CPU", 0) < 1:
        raise ClusterError(f"the cluster at {address} has no CPU; start workers with ray start --address={address}")


@contextmanager
def short_folder() -> Iterator[Path]:
    """A temporary folder whose path is short enough for the sockets of a cluster in it."""
    with scratch_folder() as folder:
        if len(str(folder)) <= LONGEST_FOLDER:
            yield folder
            return
        with tempfile.TemporaryDirectory(prefix="propensity-", dir="/tmp", ignore_cleanup_errors=True) as short:
            yield Path(short)


@contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while; those that the user has set stay."""
    before = {name: os.environ.get(name) for name in (*values, "RAY_AUTH_MODE")}  # Ray sets the latter by itself
    os.environ.update({name: value for name, value in values.items() if before[name] is None})
    try:
        yield
    finally:
        for name in before:
            if before[name] is None:
                os.environ.pop(name, None)


@contextmanager
def python_path(own: bool) -> Iterator[None]:
    """Let workers that this process starts import what it can import."""
    before = os.environ.get("PYTHONPATH")
    if own:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        yield
    finally:
        if before is not None:
            os.environ["PYTHONPATH"] = before
        elif own:
            os.environ.pop("PYTHONPATH", None)


def is_main_thread() -> bool:
    """Whether signals can be set here."""
    return threading.current_thread() is threading.main_thread()
