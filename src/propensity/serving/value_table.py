"""Values of customers in a running service: the folder that `propensity clv` wrote, beside the log of the service.

The log decides who has a value: a customer who was erased, or who objects to profiling, is unknown from then on,
though older values may hold a row. A folder that was replaced is read again before the next request.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from propensity.checksum import check_folder, is_sealed
from propensity.data.event_log import EventLog
from propensity.data.own_log import require_own_log
from propensity.errors import ConfigurationError, PropensityError
from propensity.serving.file_mark import Mark, file_mark
from propensity.serving.online import OnlineScorer
from propensity.serving.service_log import say
from propensity.serving.service_metrics import ServiceMetrics
from propensity.serving.value_schema import CustomerValue, WindowValue

TABLE, SUMMARY = "clv.parquet", "summary.json"
AGAIN = "write it again with propensity clv"
OF_CUSTOMER = tuple(name for name in CustomerValue.model_fields if name not in ("customer_id", "values"))


class ValueTable(NamedTuple):
    """Values of customers at a cutoff.

    Parameters
    ----------
    cutoff : first day of the windows
    currency : of the amounts, None where the log names none
    weeks : lengths of the windows, ascending; each customer has a row for each of them
    table : customers times weeks, customers after each other
    row : first row of each customer, by the id as text
    """

    cutoff: datetime.date
    currency: str | None
    weeks: tuple[int, ...]
    table: pl.DataFrame
    row: dict[str, int]

    def places(self, weeks: Sequence[int] | None) -> list[int]:
        """Places of some lengths among those of the table; ConfigurationError for another length."""
        wanted = self.weeks if weeks is None else weeks
        if unknown := [each for each in wanted if each not in self.weeks]:
            known = ", ".join(map(str, self.weeks))
            raise ConfigurationError(f"no values of {unknown[0]} weeks; give some of {known}, or compute others")
        return [self.weeks.index(each) for each in wanted]

    def of(self, customer_id: str, places: Sequence[int], scorer: OnlineScorer) -> CustomerValue:
        """The values of a customer that a scorer may score.

        Parameters
        ----------
        customer_id : str
            Id in the log.
        places : sequence of int
            Lengths of windows, from `places`.
        scorer : OnlineScorer
            Its log knows who was erased and who objects to profiling.

        Raises
        ------
        ConfigurationError
            If the customer is unknown, or had no order before the cutoff.
        """
        if customer_id not in scorer.row:
            raise ConfigurationError(
                f"customer_id {customer_id!r} is unknown: the service has no such id in its log; give another one"
            )
        first = self.row.get(customer_id)
        if first is None:
            raise ConfigurationError(
                f"customer_id {customer_id!r} has no value: no order before {self.cutoff}, or a guest; give another one"
            )
        rows = self.table.slice(first, len(self.weeks)).rows(named=True)
        windows = [{name: rows[place][name] for name in WindowValue.model_fields} for place in places]
        common = {name: rows[0][name] for name in OF_CUSTOMER}
        return CustomerValue.model_validate({"customer_id": customer_id, **common, "values": windows})


def read_values(folder: Path, log: EventLog | None) -> ValueTable:
    """Read and check a folder of values.

    Parameters
    ----------
    folder : Path
        That `propensity clv` wrote.
    log : EventLog or None
        Log of the service.

    Raises
    ------
    PropensityError
        If the service has no log, or the folder is none of values, is damaged, or is of another market.
    """
    if log is None:
        raise ConfigurationError(
            f"values={folder} needs a log, which says who was erased or objects to profiling; give log=<its folder>"
        )
    if not (folder / TABLE).is_file() or not is_sealed(folder):
        raise ConfigurationError(f"no values at {folder}; make them with propensity clv out={folder}")
    check_folder(folder, way_out=AGAIN)
    summary = json.loads((folder / SUMMARY).read_text())
    what = f"the values at {folder} are of"
    require_own_log(summary, log, "the service's log", what, "compute values of this one")
    table = pl.read_parquet(folder / TABLE)
    weeks, size = tuple(summary["weeks"]), len(summary["weeks"])
    names = {*OF_CUSTOMER, *WindowValue.model_fields, "customer_id"}
    if missing := sorted(names - set(table.columns)):
        raise ConfigurationError(f"the values at {folder} have no column {missing[0]}; {AGAIN}")
    ids = table["customer_id"].gather_every(size).cast(pl.String).to_list()
    row = {customer_id: size * place for place, customer_id in enumerate(ids)}
    cutoff = datetime.date.fromisoformat(summary["cutoff"])
    return ValueTable(cutoff, summary["currency"], weeks, table.select(sorted(names - {"customer_id"})), row)


class ValueFolder:
    """The values that a service uses now.

    Parameters
    ----------
    folder : str or Path
        That `propensity clv` wrote, or a link to one.
    scorer : OnlineScorer
        Of the service.
    metrics : ServiceMetrics
        Counts the exchanges.
    """

    def __init__(self, folder: str | Path, scorer: OnlineScorer, metrics: ServiceMetrics) -> None:
        self.folder, self.metrics = Path(folder), metrics
        self.tried = self.mark()
        self.table = read_values(self.folder, scorer.log)
        self.current = True
        self.lock = asyncio.Lock()

    def mark(self) -> Mark:
        """Mark of the table as it is now; empty while the folder is being replaced."""
        return file_mark(self.folder / TABLE)

    async def refresh(self, scorer: OnlineScorer) -> ValueTable:
        """The table, read again where the folder was replaced; one that cannot be used leaves the old one in use.

        Parameters
        ----------
        scorer : OnlineScorer
            Of the service at present.
        """
        if self.mark() not in ((), self.tried) and not self.lock.locked():
            async with self.lock:
                self.tried = self.mark()
                await asyncio.to_thread(self._take, scorer)
        return self.table

    def _take(self, scorer: OnlineScorer) -> None:
        """Put the values in the folder in use."""
        try:
            self.table, self.current = read_values(self.folder, scorer.log), True
        except (PropensityError, OSError) as error:
            self.current = False
            self._note("refused", logging.ERROR, problem=type(error).__name__)
        else:
            self._note("taken", logging.INFO)

    def _note(self, result: str, level: int, **fields: Any) -> None:
        """Count and log an exchange."""
        self.metrics.exchanges.labels("values", result).inc()
        say(f"values {result}", level, **fields)
