"""The loop: outcomes of what was sent, effects, uplift learned again, and the champion against the challenger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from propensity.ab.analyse import Rules, analyse
from propensity.ab.qini import Ranking, paired_difference
from propensity.ab.table import Experiment
from propensity.ab.uplift import MEAN, UpliftRules, learn_uplift
from propensity.ab.validity import stabilised
from propensity.errors import DataError

CUSTOMER = ("customer",)
CHAMPION, CHALLENGER = "champion", "challenger"
COMMON = 200  # customers, or messages, that both rankings must know


def learn(
    experiment: Experiment, rules: UpliftRules, champion: pl.DataFrame | None
) -> tuple[dict[str, Any], dict[str, Any], pl.DataFrame]:
    """Effects, uplift, and which ranking goes on.

    Parameters
    ----------
    experiment : Experiment
        Of what was sent last.
    rules : UpliftRules
        How uplift is learned.
    champion : pl.DataFrame, optional
        uplift.parquet of the ranking in use, which may not have seen the outcomes of this experiment.

    Returns
    -------
    dict
        The analysis of `propensity.ab.analyse.analyse`.
    dict
        The result of `learn_uplift` with `comparison`: arm -> outcome -> `{gain, low, high, customers, winner}`, the
        Qini coefficient of the challenger minus that of the champion.
    pl.DataFrame
        The challenger's uplift.

    Raises
    ------
    DataError
        If the champion is not a table of uplift.

    Notes
    -----
    The challenger replaces the champion where the interval of the difference is above 0; without a champion, where its
    ranking is better than random orderings. Both are compared on customers that both know.
    """
    _require_columns(champion, CUSTOMER)
    effects = analyse(experiment, Rules(alpha=rules.alpha))
    result, table = learn_uplift(experiment, rules)
    compare(experiment, result, table, champion, rules)
    return effects, result, table


def compare(
    experiment: Experiment,
    result: dict[str, Any],
    table: pl.DataFrame,
    champion: pl.DataFrame | None,
    rules: UpliftRules,
    labels: pl.DataFrame | None = None,
) -> None:
    """Add `comparison` and its sentences to a result.

    Parameters
    ----------
    experiment : Experiment
        Of what was sent last.
    result, table : dict, pl.DataFrame
        Of `learn_uplift`, the challenger.
    champion : pl.DataFrame, optional
        Uplift of the ranking in use.
    rules : UpliftRules
        Of the bootstrap.
    labels : pl.DataFrame, optional
        customer_id, offer_id and cutoff of each row, of an experiment of messages; both tables then have these columns,
        as uplift.parquet and pairs.parquet do.

    Raises
    ------
    DataError
        If the champion is not a table of uplift.
    """
    result["comparison"] = {}
    if labels is None:
        rows = pl.DataFrame({"customer": experiment.customer})
    else:
        rows = labels.rename({"customer_id": "customer"})
    _require_columns(champion, rows.columns)
    if result["refused"] is not None:
        return
    rows = rows.with_row_index("row").cast({"customer": pl.String})
    result["comparison"] = {
        arm: {
            name: _compared(experiment, rows, arm, name, table, champion, rules) | {"claimed": cell["claimed"]}
            for name, cell in outcomes.items()
        }
        for arm, outcomes in result["arms"].items()
    }
    result["sentences"] += list(_sentences(result["comparison"]))


def _require_columns(champion: pl.DataFrame | None, key: Sequence[str]) -> None:
    wanted = [*key, "arm", "outcome", MEAN]
    if champion is not None and (missing := [name for name in wanted if name not in champion.columns]):
        raise DataError(f"the champion has no column {missing[0]}; give the folder of ab uplift of such an experiment")


def _compared(
    experiment: Experiment,
    rows: pl.DataFrame,
    arm: str,
    outcome: str,
    table: pl.DataFrame,
    champion: pl.DataFrame | None,
    rules: UpliftRules,
) -> dict[str, Any]:
    """The difference of the two rankings on the rows of both."""
    if champion is None:
        return {"gain": None, "low": None, "high": None, "customers": 0}
    key = [name for name in rows.columns if name != "row"]
    own, other = (
        each.filter((pl.col("arm") == arm) & (pl.col("outcome") == outcome)).select(
            pl.col("customer").cast(pl.String), *key[1:], pl.col(MEAN).alias(name)
        )
        for each, name in ((table, CHALLENGER), (champion, CHAMPION))
    )
    both = rows.join(own, on=key).join(other, on=key).sort("row")
    if both.height < COMMON:
        return {"gain": None, "low": None, "high": None, "customers": both.height}
    row = both["row"].to_numpy()
    treated = experiment.comparisons()[arm][row]
    unit = None if experiment.unit is None else experiment.unit[row]
    ranking = Ranking(experiment.outcomes[outcome][row], treated, stabilised(experiment)[row], unit)
    new, old = (np.asarray(both[name].to_numpy(), np.float64) for name in (CHALLENGER, CHAMPION))
    gain, low, high = paired_difference(ranking, new, old, max(rules.resamples, 20), rules.seed)
    return {"gain": gain, "low": low, "high": high, "customers": both.height}


def winner(cell: dict[str, Any]) -> str | None:
    """Which ranking goes on: challenger, champion, or None where neither can be known to rank.

    Examples
    --------
    >>> winner({"gain": 0.2, "low": 0.1, "claimed": True}), winner({"gain": 0.2, "low": -0.1, "claimed": True})
    ('challenger', 'champion')
    >>> winner({"gain": None, "low": None, "claimed": False}) is None
    True
    """
    if cell["gain"] is not None:
        return CHALLENGER if cell["low"] > 0 and cell["claimed"] else CHAMPION
    return CHALLENGER if cell["claimed"] else None


def _sentences(comparison: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    lines = []
    for arm, outcomes in comparison.items():
        for outcome, cell in outcomes.items():
            cell["winner"] = winner(cell)
            beside = "no champion knows enough of these customers"
            if cell["gain"] is not None:
                interval = f"[{cell['low']:+.4g}, {cell['high']:+.4g}]"
                beside = f"Qini {cell['gain']:+.4g} {interval} against the champion on {cell['customers']:,} customers"
            goes_on = cell["winner"] or "no ranking; send to everybody or nobody by ab policy"
            lines.append(f"{arm}, {outcome}: {goes_on} ({beside})")
    return lines
