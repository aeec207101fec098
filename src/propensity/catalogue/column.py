"""Names of the columns that a request and an offer have, in the order in which the kernels fill them."""

from __future__ import annotations

WINDOWS = (1, 2, 3, 5, 7, 14, 28, 56)  # days of the counts of an offer
EXPOSURE_DAYS = 28  # days of visits that are compared with what the market bought on them

OFFER = (
    *(f"share_{days}" for days in WINDOWS),
    "trend_2_14",
    "trend_7_28",
    "rank_2",
    "rank_7",
    "age",
    "days_since_sale",
    "peak",
    "price",
    "price_ratio",
    "line_revenue",
    "line_quantity",
    "repeat_rate",
    "weekday_ratio",
    "alone",
    "group_share_7",
    "share_in_group_7",
    "market_growth",
)
CUSTOMER = (
    "visits",
    "since_visit",
    "tenure",
    "visit_gap",
    "visits_14",
    "visits_28",
    "visits_56",
    "visit_gap_ratio",
    "basket_size",
    "last_basket_size",
    "repeat_share",
    "hot_share",
    "hot_share_28",
    "unit_price",
    "weekend_share",
    "recent_basket_size",
    "weekday",
    "single_share",
)
PAIR = (
    "baskets",
    "share",
    "decayed_10",
    "decayed_30",
    "decayed_90",
    "since_last",
    "since_first",
    "gap",
    "gap_ratio",
    "basket_decay",
    "baskets_since",
    "quantity",
    "revenue",
    "baskets_28",
    "group_share",
    "group_decayed",
    "group_since",
    "exposure_28",
    "visits_on_sale",
    "over_exposure",
    "similar",
    "together",
    "relative_price",
    "group_baskets",
)
LIKENESS = ("alike_3", "alike_14")  # of the last buyers, see `propensity.catalogue.profile`
COLUMNS = (*OFFER, *(f"customer_{name}" for name in CUSTOMER), *(f"pair_{name}" for name in PAIR), *LIKENESS)

HOURS = (1, 6, 24)  # windows of the events before a cutoff with a time of day
HOUR_KINDS = ("purchase", "view", "cart", "open", "click", "search")
HOUR_COLUMNS = (
    *(f"customer_{kind}_{hours}h" for kind in HOUR_KINDS for hours in HOURS),
    "customer_hours_since_event",
    "customer_hour_of_day",
    *(f"pair_{kind}_{hours}h" for kind in HOUR_KINDS for hours in HOURS),
    "pair_hours_since_view",
    "pair_hours_since_cart",
    "pair_carts_since_purchase",
)
TIMED_COLUMNS = (*COLUMNS, *HOUR_COLUMNS)  # of a run on requests with times of day
