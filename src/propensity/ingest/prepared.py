"""What `propensity prepare` does with a source: it checks it, appends it to a log, or makes a log of it."""

from __future__ import annotations

from typing import Any

from hydra.utils import instantiate

from propensity.config import PrepareConfig
from propensity.data.event_log import EventLog
from propensity.engine.block import Engine, require_local
from propensity.errors import ConfigurationError


def prepared(task: Any, cfg: PrepareConfig, out: str) -> EventLog:
    """Check, append or prepare the source of a task.

    Parameters
    ----------
    task : Task
        The task, see `propensity.task`.
    cfg : PrepareConfig
        Composed configuration of conf/prepare.yaml.
    out : str
        Folder of the log.

    Returns
    -------
    EventLog
        The log; of a check in memory.

    Raises
    ------
    ConfigurationError
        If a check or an append is given shards or a cluster.
    """
    engine: Engine = instantiate(cfg.engine)
    if not cfg.check and not cfg.append:
        return task.prepare(out, cfg.shards, engine)
    require_local(engine, "checks and appends")
    if cfg.shards is not None:
        raise ConfigurationError(f"shards={cfg.shards} holds for a new log; leave out shards")
    return task.check() if cfg.check else task.append(out)
