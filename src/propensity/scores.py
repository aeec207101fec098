"""`Scores`: what every model says about every customer and offer at a date; where research and production meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from propensity.atomic import whole_file
from propensity.errors import ConfigurationError, DataError

COLUMNS = ("cutoff", "customer_id", "offer_id", "score", "expected_revenue")
SHARES = ("cutoff", "customer_id", "channel", "share")
SHARES_FILE = "channels.parquet"  # beside the scores


@dataclass(frozen=True)
class Scores:
    """customer (N,) original ids; offer (M,) names; probability (N, M) float32 of buying within the horizon; revenue
    (N, M) float32 expected in it, in the log's currency; cutoff as YYYY-MM-DD; model: whose answer it is."""

    customer: np.ndarray
    offer: tuple[str, ...]
    probability: np.ndarray
    revenue: np.ndarray
    cutoff: str
    model: str
    given: np.ndarray | None = None  # (N, M) bool: pairs that a file held; None: all

    def frame(self) -> pl.DataFrame:
        """One row per pair: `COLUMNS`."""
        n, m = self.probability.shape
        return pl.DataFrame(
            {
                "customer_id": np.repeat(self.customer, m),
                "offer_id": pl.Series(list(self.offer), dtype=pl.String).gather(np.tile(np.arange(m), n)),
                "score": self.probability.ravel(),
                "expected_revenue": self.revenue.ravel(),
            }
        ).select(pl.lit(self.cutoff).str.to_date().alias("cutoff"), *COLUMNS[1:])


@dataclass(frozen=True)
class ChannelShares:
    """customer (N,) original ids; channel (K,) names; share (N, K) chance of each channel given a purchase; cutoff."""

    customer: np.ndarray
    channel: tuple[str, ...]
    share: np.ndarray
    cutoff: str

    def frame(self) -> pl.DataFrame:
        """One row per customer and channel: `SHARES`."""
        n, k = self.share.shape
        return pl.DataFrame(
            {
                "customer_id": np.repeat(self.customer, k),
                "channel": pl.Series(list(self.channel) * n, dtype=pl.String),
                "share": self.share.ravel(),
            }
        ).select(pl.lit(self.cutoff).str.to_date().alias("cutoff"), *SHARES[1:])


def save_shares(shares: Sequence[ChannelShares], path: str | Path) -> None:
    """Writes shares of several cutoffs into one Parquet file, whole or not at all."""
    with whole_file(path) as draft:
        pl.concat([one.frame() for one in shares]).write_parquet(draft, compression="zstd")


def load_shares(path: str | Path, cutoff: str, customer: np.ndarray) -> ChannelShares | None:
    """Shares of the customers (N,) at a cutoff; None without a file, or where it does not hold the cutoff.

    Ids are compared as text. Raises: DataError for a file that is no table of shares, or lacks a customer.
    """
    if not Path(path).is_file():
        return None
    table = _table(Path(path), SHARES, "shares of channels")
    part = table.filter(pl.col("cutoff").cast(pl.String) == cutoff)
    if part.is_empty():
        return None
    if part.select("customer_id", "channel").is_duplicated().any():
        raise DataError(f"{path} holds a customer and channel twice at {cutoff}; score again")
    wide = part.with_columns(pl.col("customer_id").cast(pl.String)).pivot(
        "channel", index="customer_id", values="share"
    )
    wanted = pl.DataFrame({"customer_id": pl.Series(customer).cast(pl.String)})
    found = wanted.join(wide, on="customer_id", how="left", maintain_order="left")
    names = sorted(wide.columns[1:])
    grid = found.select(names).cast(pl.Float64).fill_null(np.nan).to_numpy()
    if (gap := np.flatnonzero(~np.isfinite(grid).all(axis=1))).size:
        raise DataError(
            f"{path} lacks a share of customer {wanted['customer_id'][int(gap[0])]} at {cutoff}; score again"
        )
    return ChannelShares(customer, tuple(names), grid, cutoff)


def save_scores(scores: Sequence[Scores], path: str | Path) -> None:
    """Writes scores of several cutoffs into one Parquet file, whole or not at all; ConfigurationError for a folder."""
    if Path(path).is_dir():
        raise ConfigurationError(f"{path} is a folder; give the name of a file, such as {path}/scores.parquet")
    with whole_file(path) as draft:
        pl.concat([one.frame() for one in scores]).write_parquet(draft, compression="zstd")


def load_scores(path: str | Path, model: str = "scores") -> list[Scores]:
    """Scores by cutoff, ascending; pairs that the file leaves out count as 0, and `given` tells them.

    Raises: ConfigurationError if there is no such file, DataError for one that is no table of scores, or holds a pair
    twice or a value that is not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigurationError(f"no scores at {path}; write them with propensity score out={path}")
    table = _table(path, COLUMNS, "scores")
    return [_grid(part, model) for _, part in sorted(table.group_by("cutoff"), key=lambda group: str(group[0][0]))]


def _table(path: Path, columns: Sequence[str], what: str) -> pl.DataFrame:
    """A Parquet file that has the columns; DataError for any other."""
    try:
        table = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}); write it again") from None
    if missing := [name for name in columns if name not in table.columns]:
        raise DataError(f"{path} has no column {missing[0]}; {what} hold {', '.join(columns)}")
    return table


def _grid(part: pl.DataFrame, model: str) -> Scores:
    customer = part["customer_id"].unique().sort()
    offer = part["offer_id"].unique().sort()
    row = customer.search_sorted(part["customer_id"]).to_numpy()
    column = offer.search_sorted(part["offer_id"]).to_numpy()
    given = np.zeros((customer.len(), offer.len()), bool)
    given[row, column] = True
    if given.sum() < part.height:
        twice = part.filter(part.select("customer_id", "offer_id").is_duplicated())[0]
        pair = f"customer {twice['customer_id'][0]} and offer {twice['offer_id'][0]}"
        raise DataError(f"the scores hold {pair} twice at {part['cutoff'][0]}; keep one row for each pair")
    grids = []
    for name in ("score", "expected_revenue"):
        grid = np.zeros((customer.len(), offer.len()), np.float32)
        values = part[name].cast(pl.Float64).to_numpy()
        if not np.isfinite(values).all():
            raise DataError(f"{name} at {part['cutoff'][0]} holds values that are not finite; fill them first")
        grid[row, column] = values
        grids.append(grid)
    return Scores(customer.to_numpy(), tuple(offer), grids[0], grids[1], str(part["cutoff"][0]), model, given)


def aligned(scores: Scores, customer: np.ndarray, offer: Sequence[str]) -> Scores:
    """The same scores for the given customers (N,) and offers (M,); what they do not hold counts as 0 in `given`."""
    rows = {each: place for place, each in enumerate(scores.customer.tolist())}
    columns = {each: place for place, each in enumerate(scores.offer)}
    row = np.array([rows.get(each, -1) for each in customer.tolist()], np.int64)[:, None]
    column = np.array([columns.get(each, -1) for each in offer], np.int64)[None, :]
    held = (row >= 0) & (column >= 0)
    if scores.given is not None:
        held &= scores.given[row, column]
    probability, revenue = (np.where(held, grid[row, column], 0) for grid in (scores.probability, scores.revenue))
    return Scores(customer, tuple(offer), probability, revenue, scores.cutoff, scores.model, held)
