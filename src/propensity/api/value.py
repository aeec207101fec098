"""Value, churn and key figures from Python: what `propensity clv`, `churn` and `kpi` compute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from propensity.api.place import log_folder
from propensity.data.event_log import EventLog

if TYPE_CHECKING:
    from propensity.key_figures.figures import Kpi
    from propensity.value.churn import Churn
    from propensity.value.valuation import Valuation

IN_MEMORY = "log in memory"  # stands for the folder of a log that was not opened from one


def clv(
    log: EventLog | str | Path,
    cutoff: str,
    weeks: Sequence[int] = (13, 26, 39, 52, 104),
    *,
    out: str | Path | None = None,
    **settings: Any,
) -> Valuation:
    """Values every customer with an order before a cutoff.

    Parameters
    ----------
    log
        Event log, or its folder.
    cutoff
        ISO date; events of that day and later are not read.
    weeks
        Lengths of the windows after the cutoff.
    out
        Folder for tables, summary and page; None: nothing is written.
    **settings
        Further settings of `propensity clv`: margin, discount, false_alarms, seed, models.

    Returns
    -------
    Valuation
        `table` has a row for each customer and length of window, `curve` the survival by tier, `summary` every number
        of the run, `warnings` a sentence each.

    Raises
    ------
    ConfigurationError, DataError
        As `propensity clv`.
    """
    from propensity.command import configuration
    from propensity.report.value import value_page
    from propensity.value.output import check_folder, save_values
    from propensity.value.run import values

    config = configuration("clv", _settings(log, cutoff, out or "clv", {"weeks": list(weeks), **settings}))
    if out is not None:
        check_folder(out)
    result = values(config, log if isinstance(log, EventLog) else None)
    if out is not None:
        save_values(result, out, value_page(result))
    return result


def churn(
    log: EventLog | str | Path, cutoff: str, weeks: int = 13, *, out: str | Path | None = None, **settings: Any
) -> Churn:
    """Gives each customer the probability of no order in the next weeks, and the day of the alarm.

    Parameters
    ----------
    log
        Event log, or its folder.
    cutoff
        ISO date; events of that day and later are not read.
    weeks
        Weeks without an order that are churn.
    out
        Folder for table, summary and page; None: nothing is written.
    **settings
        Further settings of `propensity churn`: false_alarms, seed, models.

    Returns
    -------
    Churn
        `table` has customer_id, p_churn, alarm_since and what they are made of, `summary` every number of the run.

    Raises
    ------
    ConfigurationError, DataError
        As `propensity churn`.
    """
    from propensity.command import configuration
    from propensity.report.value import churn_page
    from propensity.value.output import check_folder, save_churn
    from propensity.value.run import churned

    config = configuration("churn", _settings(log, cutoff, out or "churn", {"weeks": weeks, **settings}))
    if out is not None:
        check_folder(out)
    result = churned(config, log if isinstance(log, EventLog) else None)
    if out is not None:
        save_churn(result, out, churn_page(result))
    return result


def kpi(log: EventLog | str | Path, cutoff: str, *, out: str | Path | None = None, **settings: Any) -> Kpi:
    """Computes the key figures of a log as of a cutoff.

    Parameters
    ----------
    log
        Event log that lies in a folder, or the folder.
    cutoff
        ISO date; events of that day and later are not read.
    out
        Folder for figures, tables and page; None: nothing is written.
    **settings
        Further settings of `propensity kpi`, such as `clv="clv"`, `cohort="quarter"` or `margin=0.3`.

    Returns
    -------
    Kpi
        `figures` of all customers, `tables` by name, `warnings` a sentence each.

    Raises
    ------
    ConfigurationError, DataError
        As `propensity kpi`.
    """
    from propensity.command import configuration
    from propensity.key_figures.figures import kpi as figures_of
    from propensity.key_figures.figures import save
    from propensity.report.kpi import kpi_page

    config = configuration("kpi", _settings(log_folder(log), cutoff, out or "kpi", settings))
    result = figures_of(config)
    if out is not None:
        save(result, out, kpi_page(result))
    return result


def _settings(log: EventLog | str | Path, cutoff: str, out: str | Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a command by name, with paths as text."""
    folder = (log.folder or IN_MEMORY) if isinstance(log, EventLog) else log
    plain = {name: _plain(value) for name, value in settings.items()}
    return {"log": str(folder), "cutoff": str(cutoff), "out": str(out), **plain}


def _plain(value: Any) -> Any:
    """Paths as text, sequences as lists."""
    if isinstance(value, Path):
        return str(value)
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value
