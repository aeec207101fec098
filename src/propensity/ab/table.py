"""The table of an experiment: one row per customer with arm, probability, covariates and outcomes, and its rules.

What contradicts itself is a `DataError`. What is clean and cannot answer the question is a `RefusedError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.ab.covariate import design_matrix
from propensity.ab.distribution import chi_square_p
from propensity.errors import ConfigurationError, DataError, GateError

SMALLEST_ARM = 2
SUSPECT = 0.0005  # p-value below which a check refuses; a sound experiment fails each of them once in 2,000 times
STANDARD = {"customer": "customer_id", "probability": "probability", "experiment": "experiment"}  # names in a log
ALIKE = 0.75  # likeness of two words above which one is taken for a misspelling of the other
READERS: dict[str, Callable[[Path], pl.DataFrame]] = {".parquet": pl.read_parquet, ".csv": pl.read_csv}


class RefusedError(GateError):
    """The data are clean, and the question cannot be answered from them. Exit code 4."""


@dataclass(frozen=True)
class Columns:
    """Names of the columns of an experiment's table.

    Parameters
    ----------
    arm, control : str
        Column of the arm, and the arm that others are compared with.
    outcomes, covariates, before : sequence of str
        Columns measured after the send; before the assignment; and outcomes of the time before the send.
    customer, probability, experiment, sent, happened : str, optional
        Columns of the customer's id, the probability of the row's own arm, the experiment's name, and the dates of
        the send and of the outcome. The first three are found by the names of `STANDARD`.
    shares : mapping of str to float
        Designed share of each arm; empty: unknown.
    name : str, optional
        Which experiment of the table.
    drawn : bool
        Whether chance decided the arms, as far as the source of the table says.
    """

    arm: str
    control: str
    outcomes: Sequence[str]
    covariates: Sequence[str] = ()
    before: Sequence[str] = ()
    customer: str | None = None
    probability: str | None = None
    experiment: str | None = None
    sent: str | None = None
    happened: str | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    name: str | None = None
    drawn: bool = True


@dataclass(frozen=True)
class Experiment:
    """A checked experiment of n customers.

    Parameters
    ----------
    customer : np.ndarray
        (n,) ids, or row numbers.
    arms : list of str
        Treatment arms, sorted, without the control.
    control : str
        The control arm.
    arm : np.ndarray
        (n,) int8: 0 is the control, 1 + k the k-th of `arms`.
    probability : np.ndarray or None
        (n,) probability of the own arm; None where the table and the settings do not say.
    outcomes, before : dict of str to np.ndarray
        (n,) float64 each.
    x, names : np.ndarray, list of str
        (n, C) standardised covariates.
    shares : dict of str to float
        Designed shares, empty if unknown.
    notes : list of str
        What was done with rows that are unusual.
    drawn : bool
        False where nobody drew the arms at random.
    unit : np.ndarray, optional
        (n,) int64, the customer of each row where customers have several, such as one for each message; their rows
        share a fold, and standard errors are clustered by them.
    multiple : dict of str to (str, np.ndarray)
        Outcomes that are another outcome times an amount (n,) known before the send.
    """

    customer: np.ndarray
    arms: list[str]
    control: str
    arm: np.ndarray
    probability: np.ndarray | None
    outcomes: dict[str, np.ndarray]
    before: dict[str, np.ndarray]
    x: np.ndarray
    names: list[str]
    shares: dict[str, float]
    notes: list[str]
    drawn: bool = True
    unit: np.ndarray | None = None
    multiple: dict[str, tuple[str, np.ndarray]] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.arm.size

    def weight(self) -> np.ndarray:
        """(n,) 1 / probability of the own arm; 1 where it is unknown, which is right where it is constant in an arm."""
        return np.ones(len(self)) if self.probability is None else 1.0 / self.probability

    def comparisons(self) -> dict[str, np.ndarray]:
        """Rows of each treatment arm, and of all together as `any` where there are several."""
        single = {name: self.arm == k + 1 for k, name in enumerate(self.arms)}
        pooled = "any" if "any" not in single else "any treatment"
        return single | ({pooled: self.arm > 0} if len(single) > 1 else {})


def read_data(path: str | Path) -> pl.DataFrame:
    """Read a Parquet or CSV table.

    Raises
    ------
    ConfigurationError
        If there is no such file, or it is of another kind.
    DataError
        If it cannot be read or has no rows.
    """
    path = Path(path)
    if path.suffix not in READERS:
        raise ConfigurationError(f"{path} is neither a .parquet nor a .csv file; give one of these as data")
    if not path.is_file():
        raise ConfigurationError(f"there is no file {path}; give an existing table as data")
    try:
        table = READERS[path.suffix](path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(f"{path} cannot be read ({str(error).splitlines()[0]}); write it again") from None
    if not table.height:
        raise DataError(f"{path} has no rows; give the table of an experiment")
    return table


def experiment_of(table: pl.DataFrame, columns: Columns) -> Experiment:
    """Check a table, and turn it into arrays.

    Parameters
    ----------
    table : pl.DataFrame
        One row per customer.
    columns : Columns
        What its columns mean.

    Raises
    ------
    ConfigurationError
        For a column or an arm that does not exist.
    DataError
        For a customer in two rows, a missing or impossible value, or an outcome before the send.
    RefusedError
        Where everyone is treated, nobody is a control, or an arm has one customer.
    """
    columns = _standard(table, columns)
    _require_columns(table, columns)
    table, notes = _one_experiment(table, columns)
    arm = _arms(table, columns)
    customer = _customers(table, arm, columns)
    names = sorted(set(arm.to_list()) - {columns.control})
    _require_arms(arm, names, columns)
    _require_order(table, columns)
    code = {columns.control: 0} | {name: k + 1 for k, name in enumerate(names)}
    codes = np.array([code[each] for each in arm.to_list()], dtype=np.int8)
    shares = _shares(columns, code)
    outcomes = {name: _numbers(table, name, notes) for name in columns.outcomes}
    none = np.zeros((table.height, 0))
    x, covariates = design_matrix(table.select(columns.covariates)) if columns.covariates else (none, [])
    return Experiment(
        customer=customer,
        arms=names,
        control=columns.control,
        arm=codes,
        probability=_probabilities(table, columns, codes, code, shares),
        outcomes=outcomes,
        before={name: _numbers(table, name, notes) for name in columns.before},
        x=x,
        names=covariates,
        shares=shares,
        notes=notes,
        drawn=columns.drawn,
    )


def _standard(table: pl.DataFrame, columns: Columns) -> Columns:
    """The same, with the columns of a split or a log where the table has them and nothing else is named."""
    used = {columns.arm, *columns.outcomes, *columns.covariates, *columns.before}
    known: dict[str, Any] = {key: name for key, name in STANDARD.items() if name in table.columns and name not in used}
    return replace(columns, **{key: name for key, name in known.items() if getattr(columns, key) is None})


def _require_columns(table: pl.DataFrame, columns: Columns) -> None:
    single = (columns.arm, columns.customer, columns.probability, columns.experiment, columns.sent, columns.happened)
    several = (*columns.outcomes, *columns.covariates, *columns.before)
    if not columns.outcomes:
        raise ConfigurationError("outcomes is empty; name at least one column that was measured after the send")
    for name in [*(each for each in single if each is not None), *several]:
        if name not in table.columns:
            near = difflib.get_close_matches(name, table.columns, 1, 0.0)
            raise ConfigurationError(f"the table has no column {name!r}; did you mean {near[0]!r}?")
    for name in columns.covariates:
        if name == columns.arm or name in columns.outcomes:
            raise ConfigurationError(f"{name!r} is a covariate and also the arm or an outcome; keep it in one of them")


def _one_experiment(table: pl.DataFrame, columns: Columns) -> tuple[pl.DataFrame, list[str]]:
    """The rows of the chosen experiment, and a note on customers who are also in another one."""
    if columns.experiment is None:
        return table, []
    names = sorted(map(str, table[columns.experiment].unique().drop_nulls().to_list()))
    if columns.name is None and len(names) > 1:
        raise ConfigurationError(f"the table holds the experiments {', '.join(names)}; choose one with name=...")
    name = columns.name or names[0]
    if name not in names:
        raise ConfigurationError(f"there is no experiment {name!r} in the table; it holds {', '.join(names)}")
    mask = table[columns.experiment].cast(pl.String) == name
    rows, others = table.filter(mask), table.filter(~mask)
    if columns.customer is None or not others.height:
        return rows, []
    shared = rows[columns.customer].is_in(others[columns.customer].implode()).sum()
    if not shared:
        return rows, []
    _require_independent(rows, others, name, columns)
    note = f"{shared:,} of {rows.height:,} customers of {name} are also in another experiment of the table"
    return rows, [f"{note}; the effects are means over its arms, which were drawn independently"]


def _require_independent(rows: pl.DataFrame, others: pl.DataFrame, name: str, columns: Columns) -> None:
    """Arms of experiments that overlap may not depend on each other: chi-square test of their table."""
    assert columns.experiment is not None and columns.customer is not None
    for (other,), part in others.group_by(columns.experiment, maintain_order=True):
        pairs = rows.select(columns.customer, one=pl.col(columns.arm).cast(pl.String)).join(
            part.select(columns.customer, two=pl.col(columns.arm).cast(pl.String)), on=columns.customer
        )
        cells = pairs.drop_nulls().pivot("two", index="one", values="two", aggregate_function="len").fill_null(0)
        count = cells.drop("one").to_numpy().astype(np.float64)
        freedom = (count.shape[0] - 1) * (count.shape[1] - 1)
        if freedom < 1:
            continue
        expected = count.sum(1, keepdims=True) * count.sum(0, keepdims=True) / count.sum()
        p = chi_square_p(float(np.sum((count - expected) ** 2 / expected)), freedom)
        if p < SUSPECT:
            raise RefusedError(
                f"the arms of {name} and {other} depend on each other among {pairs.height:,} customers in both "
                f"(p {p:.2g}), so their effects cannot be told apart; draw each experiment by its own hash"
            )


def _arms(table: pl.DataFrame, columns: Columns) -> pl.Series:
    arm = table[columns.arm]
    if arm.null_count():
        raise DataError(f"{columns.arm} is missing in {arm.null_count():,} rows; every customer needs an arm")
    return arm.cast(pl.String)


def _customers(table: pl.DataFrame, arm: pl.Series, columns: Columns) -> np.ndarray:
    """Ids, each in one row."""
    if columns.customer is None:
        return np.arange(table.height)
    customer = table[columns.customer]
    if customer.null_count():
        raise DataError(f"{columns.customer} is missing in {customer.null_count():,} rows; every row needs an id")
    if customer.n_unique() < table.height:
        rows = pl.DataFrame({"customer": customer, "arm": arm}).group_by("customer")
        count = rows.agg(pl.col("arm").n_unique().alias("arms"), pl.len().alias("rows")).sort("customer")
        torn = count.filter(pl.col("arms") > 1)
        if torn.height:
            first = torn["customer"][0]
            raise DataError(f"{torn.height:,} customers are in two arms, such as {first}; assign each to one arm")
        twice = count.filter(pl.col("rows") > 1)
        first = twice["customer"][0]
        if int(table.is_duplicated().sum()) == int(twice["rows"].sum()):
            raise DataError(f"{twice.height:,} rows are in the table twice, such as customer {first}; add it once")
        raise DataError(f"{twice.height:,} customers have several rows, such as {first}; keep one row per customer")
    return customer.to_numpy()


def _require_arms(arm: pl.Series, names: Sequence[str], columns: Columns) -> None:
    count = dict(arm.value_counts().iter_rows())
    if columns.control not in count:
        near = difflib.get_close_matches(columns.control, names, 1, ALIKE)
        if near and len(names) > 1:
            raise ConfigurationError(f"there is no arm {columns.control!r}; did you mean {near[0]!r}?")
        raise RefusedError(
            f"no customer is in the control arm {columns.control!r} (arms: {', '.join(names)}), so everyone was "
            "treated and no effect can be known; keep a holdout"
        )
    if not names:
        raise RefusedError(
            f"all customers are in the control arm {columns.control!r}; without a treatment there is no effect"
        )
    for name, size in sorted(count.items()):
        if size < SMALLEST_ARM:
            raise RefusedError(f"arm {name!r} has {size} customer; an effect needs at least {SMALLEST_ARM} in each arm")


def _require_order(table: pl.DataFrame, columns: Columns) -> None:
    """Outcomes happen on the day of the send or later."""
    if columns.sent is None or columns.happened is None:
        return
    early = (_dates(table[columns.happened]) < _dates(table[columns.sent])).fill_null(False).sum()
    if early:
        raise DataError(
            f"{columns.happened} lies before {columns.sent} in {early:,} rows; count only outcomes after the send"
        )


def _dates(column: pl.Series) -> pl.Series:
    if column.dtype != pl.String:
        return column.cast(pl.Datetime) if column.dtype.is_temporal() else column
    try:
        return column.str.to_datetime(strict=True)
    except pl.exceptions.PolarsError:
        raise DataError(f"{column.name} holds values that are no dates; write them as YYYY-MM-DD") from None


def _shares(columns: Columns, code: Mapping[str, int]) -> dict[str, float]:
    """Designed shares, which name every arm and sum to 1."""
    shares = {str(name): float(value) for name, value in columns.shares.items()}
    if not shares:
        return {}
    if set(shares) != set(code):
        raise ConfigurationError(f"shares names {', '.join(shares)}, the table {', '.join(code)}; name the same arms")
    if min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise ConfigurationError(f"shares are {list(shares.values())}; they must be above 0 and sum to 1")
    return shares


def _probabilities(
    table: pl.DataFrame, columns: Columns, codes: np.ndarray, code: Mapping[str, int], shares: Mapping[str, float]
) -> np.ndarray | None:
    """Probability of the own arm: the column, else the designed shares, else unknown."""
    if columns.probability is None:
        return np.array([shares[name] for name in code])[codes] if shares else None
    values = _floats(table, columns.probability)
    missing = int(np.isnan(values).sum())
    if missing:
        raise DataError(
            f"{columns.probability} is missing in {missing:,} rows; write the probability of each arm drawn"
        )
    if values.min() <= 0:
        raise DataError(
            f"{columns.probability} is {values.min():g} in a row; an arm that was drawn had a chance above 0"
        )
    if values.max() > 1:
        raise DataError(f"{columns.probability} is {values.max():g} in a row; a probability is at most 1")
    return values


def _numbers(table: pl.DataFrame, name: str, notes: list[str]) -> np.ndarray:
    values = _floats(table, name)
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise DataError(f"{name} is missing or not finite in {bad:,} rows; write 0 where nothing happened")
    below = int((values < 0).sum())
    if below:
        notes.append(f"{name} is below zero in {below:,} rows: counted as returns, as they are")
    return values


def _floats(table: pl.DataFrame, name: str) -> np.ndarray:
    column: Any = table[name]
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean or column.dtype == pl.Null):
        raise DataError(f"{name} holds {column.dtype}, not numbers; give a column of numbers")
    return np.asarray(column.cast(pl.Float64).fill_null(float("nan")).to_numpy(), dtype=np.float64)
