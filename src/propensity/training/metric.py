"""Names of the metrics of a training, and which of their directions is better."""

from __future__ import annotations

from propensity.errors import ConfigurationError
from propensity.metric.interval import LOWER_IS_BETTER

RANKING = ("auc", "average_precision", "lift", "normalised_revenue_capture", "revenue_lift", "log_loss")
POOLED = ("micro_auc", "ece")  # of all pairs
CALIBRATION = ("expected_over_observed", "expected_over_observed_revenue")
LOSS = ("train/loss", "train/loss_step", "train/loss_epoch")
NAMES = (
    "val/loss",
    *(f"val/{name}" for name in (*RANKING, *POOLED, *CALIBRATION)),
    *(f"val/never_bought/{name}" for name in (*RANKING, *CALIBRATION)),
)


def better(place: str, metric: str) -> str:
    """`max` where a higher value of a validation metric is better, else `min`.

    >>> better("objective", "val/never_bought/auc"), better("objective", "val/log_loss")
    ('max', 'min')
    """
    name = metric.rpartition("/")[2]
    if name in CALIBRATION:
        raise ConfigurationError(f"{place}: {metric} is best at 1, neither high nor low; give {place}.mode=min or max")
    return "min" if name in LOWER_IS_BETTER or name in ("loss", "loss_step", "loss_epoch") else "max"
