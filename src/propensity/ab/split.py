"""Who is in which arm: a sticky, salted hash, stratified, with a global holdout that all experiments share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from propensity.ab.table import RefusedError
from propensity.errors import ConfigurationError, DataError

GLOBAL, GLOBAL_SALT, HOLDOUT = "global holdout", "global holdout", "holdout"
LARGEST = 0.1  # share of the global holdout


def hashed(customer: Sequence[object], salt: str) -> np.ndarray:
    """(n,) numbers in [0, 1) that follow from salt and id alone.

    Examples
    --------
    >>> hashed(["a", "b"], "x").tolist() == hashed(["b", "a"], "x")[::-1].tolist()
    True
    """
    digests = (hashlib.blake2b(f"{salt}\0{each}".encode(), digest_size=7).digest() for each in customer)
    return np.array([int.from_bytes(each, "big") / 2**56 for each in digests])


def assign(
    customers: pl.DataFrame,
    name: str,
    arms: Mapping[str, float],
    global_holdout: float = 0.05,
    strata: Sequence[str] = (),
    earlier: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Arms with their probabilities.

    Parameters
    ----------
    customers : pl.DataFrame
        customer_id, and the columns of the strata.
    name : str
        Of the experiment; it is the salt, so that experiments are independent.
    arms : mapping of str to float
        Share of each arm among those outside the global holdout; they sum to 1.
    global_holdout : float
        Share of customers that no experiment contacts: 0, or 0.01 to 0.1.
    strata : sequence of str
        Columns such as value and risk, within which the arms are balanced.
    earlier : pl.DataFrame, optional
        An earlier result of the same experiment, whose customers keep their arms.

    Returns
    -------
    pl.DataFrame
        customer_id, experiment, arm, probability; sorted by customer_id.

    Notes
    -----
    Within a stratum, ranks of the hash plus one random start fill the unit interval evenly (systematic sampling): the
    probability of an arm is exactly its share, and its size within one customer of it.
    """
    _require(customers, arms, global_holdout, strata)
    kept = earlier if earlier is not None else pl.DataFrame(schema={"customer_id": customers["customer_id"].dtype})
    new = customers.filter(~pl.col("customer_id").is_in(kept["customer_id"].implode())).sort("customer_id")
    ids = new["customer_id"].to_list()
    out, place = hashed(ids, GLOBAL_SALT) < global_holdout, hashed(ids, name)
    stratum = [str(row) for row in new.select(strata).rows()] if strata else [""] * len(ids)
    names, edges = list(arms), np.cumsum(list(arms.values()))
    arm, probability = np.full(len(ids), GLOBAL, dtype=object), np.full(len(ids), global_holdout)
    labels = np.array(stratum, dtype=object)
    for each in sorted(set(stratum)):
        rows = np.flatnonzero((labels == each) & ~out)
        rows = rows[np.argsort(place[rows], kind="stable")]
        start = hashed([f"{each}\0{len(rows)}"], name)[0]
        code = np.searchsorted(edges, (np.arange(rows.size) + start) / max(rows.size, 1), side="right")
        code = np.minimum(code, len(names) - 1)
        arm[rows] = np.array(names, dtype=object)[code]
        probability[rows] = (1 - global_holdout) * np.array(list(arms.values()))[code]
    columns = {"experiment": [name] * len(ids), "arm": arm.tolist(), "probability": probability}
    table = pl.DataFrame({"customer_id": new["customer_id"]} | columns)
    return (table if earlier is None else pl.concat([earlier, table])).sort("customer_id")


def _require(customers: pl.DataFrame, arms: Mapping[str, float], global_holdout: float, strata: Sequence[str]) -> None:
    for column in ("customer_id", *strata):
        if column not in customers.columns:
            raise ConfigurationError(
                f"the customers have no column {column!r}; they have {', '.join(customers.columns)}"
            )
    if customers["customer_id"].null_count() or customers["customer_id"].n_unique() < customers.height:
        raise DataError("customer_id is missing or repeated; write each customer once")
    if not arms or min(arms.values()) <= 0 or abs(sum(arms.values()) - 1) > 1e-9 or GLOBAL in arms:
        raise ConfigurationError(f"arms are {dict(arms)}; their shares must be above 0 and sum to 1")
    if global_holdout and not 0.01 <= global_holdout <= LARGEST:
        raise ConfigurationError(f"global_holdout is {global_holdout}; give 0, or 0.01 to {LARGEST}")
    if len(arms) < 2 and not global_holdout:
        raise RefusedError("everyone would be treated and no effect could be known; keep a holdout")
