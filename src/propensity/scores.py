"""Tables of scores: purchase probability and expected revenue of every customer-offer pair at a cutoff.

Network, baselines, bundles and external models all return `Scores`; evaluation and decisions read them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from propensity.atomic import whole_file
from propensity.data.consent import MARKS, consent_channel, words_at
from propensity.data.event_log import EventLog
from propensity.data.score_file import file_metadata, require_all_parts, score_files
from propensity.data.table_file import LOG, RUN, read_table, write_table
from propensity.data.unsubscribe import customers_with_words
from propensity.data.valid import LARGEST_TOTAL
from propensity.errors import ConfigurationError, DataError, InfeasibleError

COLUMNS = ("cutoff", "customer_id", "offer_id", "score", "expected_revenue")
SHARES = ("cutoff", "customer_id", "channel", "share")
WARNINGS = "propensity.warnings"  # key of the metadata of a table of scores
LARGEST_SPARSE, SPARSE = 100_000_000, 0.1  # pairs in memory, of scores of which a smaller share has a row
SHARES_FILE = "channels.parquet"  # written beside the scores


@dataclass(frozen=True)
class Scores:
    """Scores of one model for N customers and M offers at one cutoff.

    Attributes
    ----------
    customer : ndarray of shape (N,)
        Customer ids as in the user's tables.
    offer : tuple of str, length M
        Offer ids.
    probability : ndarray of shape (N, M), float32
        Probability of at least one purchase within the horizon.
    revenue : ndarray of shape (N, M), float32
        Expected revenue within the horizon, in the log's currency.
    cutoff : str
        First day of the horizon, YYYY-MM-DD.
    model : str
        Name of the model.
    mask : ndarray of shape (N, M), bool, optional
        Pairs that have a score; None if all have one. The other pairs hold 0.
    consents : polars.DataFrame of N rows, optional
        What the customers said about being contacted, as of the cutoff, see `propensity.data.consent.words_at`; None
        where no log holds consents.
    """

    customer: np.ndarray
    offer: tuple[str, ...]
    probability: np.ndarray
    revenue: np.ndarray
    cutoff: str
    model: str
    mask: np.ndarray | None = None
    consents: pl.DataFrame | None = None

    def frame(self) -> pl.DataFrame:
        """The scores as a table.

        Returns
        -------
        polars.DataFrame of N x M rows
            One row per pair, with the columns `COLUMNS` and those of `consents`.
        """
        n, m = self.probability.shape
        table = pl.DataFrame(
            {
                "customer_id": np.repeat(self.customer, m),
                "offer_id": pl.Series(list(self.offer), dtype=pl.String).gather(np.tile(np.arange(m), n)),
                "score": self.probability.ravel(),
                "expected_revenue": self.revenue.ravel(),
            }
        ).select(pl.lit(self.cutoff).str.to_date().alias("cutoff"), *COLUMNS[1:])
        return table if self.consents is None else table.hstack(self.consents[np.repeat(np.arange(n), m)])


def with_consents(scores: Scores, log: EventLog, row: np.ndarray) -> Scores:
    """The scores with the consents of their customers, so that a decision needs no other table.

    Parameters
    ----------
    scores : Scores
        Scores of N customers.
    log : EventLog
        Their log.
    row : ndarray of shape (N,)
        Rows of the customers in the log.

    Returns
    -------
    Scores
        Unchanged where the log holds no consents.
    """
    return replace(scores, consents=words_at(customers_with_words(log)[row], scores.cutoff))


@dataclass(frozen=True)
class ChannelShares:
    """Channel preferences of N customers over K channels at one cutoff.

    Attributes
    ----------
    customer : ndarray of shape (N,)
        Customer ids as in the user's tables.
    channel : tuple of str, length K
        Channel names.
    share : ndarray of shape (N, K)
        Probability of each channel given a purchase; rows sum to 1.
    cutoff : str
        First day of the horizon, YYYY-MM-DD.
    """

    customer: np.ndarray
    channel: tuple[str, ...]
    share: np.ndarray
    cutoff: str

    def frame(self) -> pl.DataFrame:
        """The shares as a table.

        Returns
        -------
        polars.DataFrame of N x K rows
            One row per customer and channel, with the columns `SHARES`.
        """
        n, k = self.share.shape
        return pl.DataFrame(
            {
                "customer_id": np.repeat(self.customer, k),
                "channel": pl.Series(list(self.channel) * n, dtype=pl.String),
                "share": self.share.ravel(),
            }
        ).select(pl.lit(self.cutoff).str.to_date().alias("cutoff"), *SHARES[1:])


def save_shares(shares: Sequence[ChannelShares], path: str | Path) -> None:
    """Write channel shares of several cutoffs to one Parquet file, atomically.

    Parameters
    ----------
    shares : sequence of ChannelShares
        One entry per cutoff.
    path : str or Path
        File to write or replace.
    """
    with whole_file(path) as draft:
        write_table(pl.concat([table.frame() for table in shares]), draft)


def load_shares(path: str | Path, cutoff: str, customer: np.ndarray) -> ChannelShares | None:
    """Read the channel shares of some customers at a cutoff.

    Parameters
    ----------
    path : str or Path
        File written by `save_shares`.
    cutoff : str
        YYYY-MM-DD.
    customer : ndarray of shape (N,)
        Customer ids; they are compared as text.

    Returns
    -------
    ChannelShares or None
        None if the file does not exist or has no rows at the cutoff.

    Raises
    ------
    DataError
        If the file is not a table of shares, has a pair twice, or lacks a share of a customer.
    """
    if not Path(path).is_file():
        return None
    table = _table(Path(path), SHARES, "channel shares")
    part = table.filter(pl.col("cutoff").cast(pl.String) == cutoff)
    if part.is_empty():
        return None
    if part.select("customer_id", "channel").is_duplicated().any():
        raise DataError(f"{path} holds a customer and channel twice at {cutoff}; score again")
    wide = part.with_columns(pl.col("customer_id").cast(pl.String)).pivot(
        "channel", index="customer_id", values="share"
    )
    ids = pl.DataFrame({"customer_id": pl.Series(customer).cast(pl.String)})
    channels = sorted(wide.columns[1:])
    matched = ids.join(wide, on="customer_id", how="left", maintain_order="left").select(channels)
    share = matched.cast(pl.Float64).fill_null(np.nan).to_numpy()
    if (missing := np.flatnonzero(~np.isfinite(share).all(axis=1))).size:
        raise DataError(
            f"{path} lacks a share of customer {ids['customer_id'][int(missing[0])]} at {cutoff}; score again"
        )
    return ChannelShares(customer, tuple(channels), share, cutoff)


def metadata_of(log: Path | None, run: str | Path | None = None, warnings: Sequence[str] = ()) -> dict[str, str] | None:
    """Metadata of a table of scores: where they come from, and what a reader should know.

    Parameters
    ----------
    log, run : Path, optional
        Folders of the event log and of the run, see `scored_log` and `run_of_scores`.
    warnings : sequence of str
        See `score_warnings`.

    Returns
    -------
    dict of str to str, or None
        None where nothing is known.
    """
    folders = {LOG: log, RUN: run}
    known = {key: str(Path(folder).resolve()) for key, folder in folders.items() if folder is not None}
    return ({WARNINGS: json.dumps(list(warnings))} if warnings else {}) | known or None


def save_scores(
    scores: Sequence[Scores],
    path: str | Path,
    warnings: Sequence[str] = (),
    log: Path | None = None,
    run: str | Path | None = None,
) -> None:
    """Write scores of several cutoffs to one Parquet file, atomically.

    Parameters
    ----------
    scores : sequence of Scores
        One entry per cutoff.
    path : str or Path
        File to write or replace.
    warnings : sequence of str
        What a reader of the scores should know; kept in the file's metadata, see `score_warnings`.
    log, run : Path, optional
        Folders of the event log and of the run; kept in the file's metadata, see `scored_log` and `run_of_scores`.

    Raises
    ------
    ConfigurationError
        If `path` is a folder.
    """
    if Path(path).is_dir():
        raise ConfigurationError(f"{path} is a folder; give the name of a file, such as {path}/scores.parquet")
    with whole_file(path) as draft:
        table = pl.concat([table.frame() for table in scores], how="diagonal")
        write_table(table, draft, metadata_of(log, run, warnings))


def score_warnings(path: str | Path) -> list[str]:
    """Read the warnings that stand in the metadata of a table of scores.

    Parameters
    ----------
    path : str or Path
        See `score_files`.

    Returns
    -------
    list of str
        Empty where the file holds none.
    """
    sentences: list[str] = json.loads(file_metadata(path).get(WARNINGS, "[]"))
    return sentences


def load_scores(path: str | Path, model: str = "scores") -> list[Scores]:
    """Read a table of scores.

    Parameters
    ----------
    path : str or Path
        Parquet files with the columns `COLUMNS`, in any order of rows; see `score_files`.
    model : str
        Name of the model that the scores come from.

    Returns
    -------
    list of Scores
        One entry per cutoff, ascending. Pairs without a row have score 0 and are False in `mask`.

    Raises
    ------
    ConfigurationError
        If the file does not exist.
    DataError
        If the file is not a table of scores, has a pair twice, or has a value that is not finite.
    DamageError
        If the file is not what was written.
    """
    files = score_files(path)
    if Path(path).is_dir():
        require_all_parts(Path(path), files)
    tables = [_table(file, COLUMNS, "scores") for file in files]
    return scores_from(pl.concat(tables, how="diagonal") if len(tables) > 1 else tables[0], path, model)


def scores_from(table: pl.DataFrame, name: str | Path, model: str = "scores") -> list[Scores]:
    """Scores out of a table.

    Parameters
    ----------
    table : polars.DataFrame
        Columns `COLUMNS`; without `expected_revenue`, revenue is ranked by `score`.
    name : str or Path
        Name of the table in messages.
    model : str
        Name of the model that the scores come from.

    Returns
    -------
    list of Scores
        One entry per cutoff, ascending. Pairs without a row have score 0 and are False in `mask`.

    Raises
    ------
    DataError
        If a column is missing, a pair stands twice, or a value is not finite.
    """
    if "expected_revenue" not in table.columns and "score" in table.columns:
        table = table.with_columns(pl.col("score").alias("expected_revenue"))
    _require_columns(table, name, COLUMNS, "scores")
    if table.schema["cutoff"] == pl.String:
        table = table.with_columns(pl.col("cutoff").str.to_date(strict=False))
    if not table.schema["cutoff"].is_temporal() or table["cutoff"].has_nulls():
        raise DataError(f"column cutoff of {name} holds something else than dates; write them as YYYY-MM-DD")
    table = table.with_columns(pl.col("cutoff").cast(pl.Date))
    return [_grid(part, model) for _, part in sorted(table.group_by("cutoff"), key=lambda group: str(group[0][0]))]


def _require_columns(table: pl.DataFrame, name: str | Path, columns: Sequence[str], what: str) -> None:
    if missing := [column for column in columns if column not in table.columns]:
        raise DataError(f"{name} has no column {missing[0]}; a table of {what} has {', '.join(columns)}")


def _table(path: Path, columns: Sequence[str], what: str) -> pl.DataFrame:
    """A Parquet file with the required columns; DataError for any other."""
    try:
        table = read_table(path)
    except (pl.exceptions.PolarsError, OSError, MemoryError) as error:
        raise DataError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}); write it again") from None
    _require_columns(table, path, columns, what)
    return table


def _grid(part: pl.DataFrame, model: str) -> Scores:
    """The rows of one cutoff as matrices."""
    customer = part["customer_id"].unique().sort()
    offer = part["offer_id"].unique().sort()
    require_dense(customer.len(), offer.len(), part.height, str(part["cutoff"][0]))
    row = customer.search_sorted(part["customer_id"]).to_numpy()
    column = offer.search_sorted(part["offer_id"]).to_numpy()
    mask = np.zeros((customer.len(), offer.len()), bool)
    mask[row, column] = True
    if mask.sum() < part.height:
        duplicate = part.filter(part.select("customer_id", "offer_id").is_duplicated())[0]
        pair = f"customer {duplicate['customer_id'][0]} and offer {duplicate['offer_id'][0]}"
        raise DataError(f"the scores contain {pair} twice at {part['cutoff'][0]}; keep one row for each pair")
    grids = []
    for name in ("score", "expected_revenue"):
        grid = np.zeros((customer.len(), offer.len()), np.float32)
        values = part[name].cast(pl.Float64).to_numpy()
        if not np.isfinite(values).all():
            raise DataError(f"{name} at {part['cutoff'][0]} holds values that are not finite; fill them first")
        if (total := float(np.abs(values).sum())) > LARGEST_TOTAL:
            raise DataError(
                f"{name} at {part['cutoff'][0]} adds up to {total:.3g}, more than {LARGEST_TOTAL:.0e}, so that sums "
                "overflow; correct its unit"
            )
        grid[row, column] = values
        grids.append(grid)
    cutoff, consents = str(part["cutoff"][0]), _consents(part)
    return Scores(customer.to_numpy(), tuple(offer), grids[0], grids[1], cutoff, model, mask, consents)


def require_dense(customers: int, offers: int, rows: int, cutoff: str) -> None:
    """Refuse sparse scores whose customers x offers would not fit into memory, with InfeasibleError."""
    if customers * offers > LARGEST_SPARSE and rows < SPARSE * customers * offers:
        raise InfeasibleError(
            f"the scores at {cutoff} hold {rows:,} of {customers:,} customers x {offers:,} offers, which are held as a "
            f"whole up to {LARGEST_SPARSE:,} pairs; keep the offers of one campaign, or a smaller top_per_customer"
        )


def _consents(part: pl.DataFrame) -> pl.DataFrame | None:
    """The consents in the rows of N customers, ascending by id; of several words the refusal, None without any."""
    names = [name for name in part.columns if consent_channel(name) is not None and part.schema[name] == pl.Boolean]
    words = [pl.col(name).max() if name in MARKS else pl.col(name).min() for name in names]
    return part.group_by("customer_id").agg(words).sort("customer_id").select(names) if names else None


def aligned(scores: Scores, customer: np.ndarray, offer: Sequence[str]) -> Scores:
    """Scores in a required order of customers and offers.

    Parameters
    ----------
    scores : Scores
        Scores at one cutoff.
    customer : ndarray of shape (N,)
        Required customer ids.
    offer : sequence of str, length M
        Required offer ids.

    Returns
    -------
    Scores
        Of shape (N, M). A pair that `scores` lacks has score 0 and is False in `mask`.
    """
    row_of = {each: row for row, each in enumerate(scores.customer.tolist())}
    column_of = {each: column for column, each in enumerate(scores.offer)}
    row = np.array([row_of.get(each, -1) for each in customer.tolist()], np.int64)[:, None]
    column = np.array([column_of.get(each, -1) for each in offer], np.int64)[None, :]
    mask = (row >= 0) & (column >= 0)
    if scores.mask is not None:
        mask &= scores.mask[row, column]
    probability, revenue = (np.where(mask, grid[row, column], 0) for grid in (scores.probability, scores.revenue))
    return Scores(customer, tuple(offer), probability, revenue, scores.cutoff, scores.model, mask)


def customers_of(scores: Scores, mask: np.ndarray) -> Scores:
    """Scores of some customers.

    Parameters
    ----------
    scores : Scores
        Scores of N customers at one cutoff.
    mask : ndarray of shape (N,), bool
        The customers to keep.

    Returns
    -------
    Scores
        In the same order.
    """
    return replace(
        scores,
        customer=scores.customer[mask],
        probability=scores.probability[mask],
        revenue=scores.revenue[mask],
        mask=None if scores.mask is None else scores.mask[mask],
        consents=None if scores.consents is None else scores.consents.filter(pl.Series(mask)),
    )
