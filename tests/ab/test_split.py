"""Laws of the split into arms."""

from __future__ import annotations

import polars as pl
import pytest

from propensity.ab.split import GLOBAL, assign
from propensity.ab.table import RefusedError

ARMS = {"treatment": 0.8, "holdout": 0.1, "business as usual": 0.1}
CUSTOMERS = pl.DataFrame({"customer_id": range(5000), "value": [each % 4 for each in range(5000)]})


def test_the_order_of_rows_changes_no_arm() -> None:
    shuffled = CUSTOMERS.sample(fraction=1.0, shuffle=True, seed=1)
    assert assign(CUSTOMERS, "spring", ARMS, strata=["value"]).equals(
        assign(shuffled, "spring", ARMS, strata=["value"])
    )


def test_customers_keep_their_arms_when_others_join() -> None:
    first = assign(CUSTOMERS.head(3000), "spring", ARMS)
    both = assign(CUSTOMERS, "spring", ARMS, earlier=first)
    assert both.head(3000).equals(first) and both.height == 5000


def test_arms_of_every_stratum_have_their_shares_within_one_customer() -> None:
    table = assign(CUSTOMERS, "spring", ARMS, strata=["value"]).join(CUSTOMERS, on="customer_id")
    for (_,), part in table.filter(pl.col("arm") != GLOBAL).group_by("value"):
        for arm, share in ARMS.items():
            assert abs(int((part["arm"] == arm).sum()) - share * part.height) <= 1


def test_all_experiments_share_the_global_holdout() -> None:
    tables = [assign(CUSTOMERS, name, ARMS).filter(pl.col("arm") == GLOBAL) for name in ("spring", "autumn")]
    assert tables[0]["customer_id"].equals(tables[1]["customer_id"]) and 200 < tables[0].height < 300


def test_a_split_without_a_holdout_is_refused() -> None:
    with pytest.raises(RefusedError, match="keep a holdout"):
        assign(CUSTOMERS, "spring", {"treatment": 1.0}, global_holdout=0)
