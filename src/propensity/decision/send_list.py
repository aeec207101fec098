"""Send lists: one row per message, or per customer of a holdout who gets none, in one file per campaign and channel."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from propensity.atomic import holds_other, whole_file, whole_folder
from propensity.csv_cell import neutral
from propensity.data.event_log import to_date, to_day
from propensity.decision.audience import Audience
from propensity.decision.campaign import CampaignPlan
from propensity.decision.context import DecisionContext, best_first
from propensity.decision.file_name import stem_of, unique_stems
from propensity.decision.held_trigger import HeldMessage, held_rows, held_triggers
from propensity.decision.next_best import NextBest
from propensity.decision.plan.request import Campaign, contact_value
from propensity.decision.result import IGNORED, DecisionResult
from propensity.errors import ConfigurationError, InfeasibleError
from propensity.ingest.rule.matching import rows_of
from propensity.scores import WARNINGS

SUFFIXES = (".csv", ".parquet")
MAX_REASONS = 3
ANY = "any"  # channel of a file whose campaign names none
SUMMARY = "summary.json"
HELD = "in a holdout"
Sending: TypeAlias = Audience | CampaignPlan | NextBest
SENDING = (Audience, CampaignPlan, NextBest)
MESSAGE = ("customer_id", "campaign", "offer_id", "channel", "day")


@dataclass(frozen=True)
class SendList:
    """The messages of a decision.

    Parameters
    ----------
    table : pl.DataFrame
        One row per message or customer of a holdout, in the order of the decision: `customer_id`, the attributes,
        `campaign`, `offer_id`, `channel`, `day`, `holdout`, `arm`, `probability` of this arm and message, `score`,
        `expected_value` in `currency`, and up to three reasons `reason_1` ....
    left_out : pl.DataFrame
        One row per customer and channel who may not get a message: `customer_id`, `channel`, `reason`.
    summary : dict
        Cutoff, currency, messages, holdouts and value by campaign and channel, left out by reason, warnings.
    exploration : pl.DataFrame or None
        The experiment of a plan with exploration, see `propensity.decision.campaign.exploration_table`.
    """

    table: pl.DataFrame
    left_out: pl.DataFrame
    summary: dict[str, Any]
    exploration: pl.DataFrame | None = None


def is_list(out: str | Path) -> bool:
    """Whether a path names a send list.

    Examples
    --------
    >>> is_list("list.csv"), is_list("audience")
    (True, False)
    """
    return Path(out).suffix in SUFFIXES


def send_list(
    decision: Sending,
    context: DecisionContext,
    result: DecisionResult,
    arms: pl.DataFrame | None = None,
    attributes: Sequence[str] = (),
) -> SendList:
    """The messages of a decision, and the customers of its holdout whom it would have chosen.

    Parameters
    ----------
    decision : Audience, CampaignPlan or NextBest
        The decision.
    context : DecisionContext
        What it used, with the objective and the holdout.
    result : DecisionResult
        What it returned, with or without reasons.
    arms : pl.DataFrame, optional
        See `propensity.decision.arms.read_arms`.
    attributes : sequence of str
        Columns of the customers' table, or of the customers of the log, in the order of the list.

    Returns
    -------
    SendList
        A customer of a holdout is in it where the rules of the campaign admit him and his value is at least the lowest
        of its messages that were not drawn at random.

    Raises
    ------
    ConfigurationError
        If an attribute is unknown.
    """
    context = context.with_settings(decision.ignore_consent, decision.not_products)
    messages = _messages(decision, context, result)
    held = _held(decision, context, messages)
    table = pl.concat([messages, held], how="diagonal")
    table = _with_arms(table, arms, "probability" in result.table.columns)
    currency = pl.lit(context.currency, pl.String).alias("currency")
    ignored = [pl.lit(True).alias("consent_ignored")] if decision.ignore_consent else []
    chosen = _attributes(context, attributes)
    table = table.join(chosen, on="customer_id", how="left", maintain_order="left")
    reasons = [name for name in table.columns if name.startswith("reason_") and table[name].count()]
    table = table.select(
        "customer_id", *attributes, *MESSAGE[1:], "holdout", "arm", "probability", "score", "expected_value",
        currency, *ignored, *reasons,
    )  # fmt: skip
    left_out = _left_out(decision, context, messages)
    exploration = result.extra_tables.get("exploration")
    return SendList(table, left_out, _summary(table, left_out, context, result), exploration)


def _messages(decision: Sending, context: DecisionContext, result: DecisionResult) -> pl.DataFrame:
    """One row per message."""
    table = result.extra_tables["journey"] if isinstance(decision, NextBest) else result.table
    if isinstance(decision, Audience):
        cost = decision.cost or 0.0
        table = table.with_columns(
            campaign="offer_id",
            channel=pl.lit(decision.channel, pl.String),
            day=pl.lit(to_date(to_day(context.scores.cutoff))),
            expected_value=pl.col("expected_margin").cast(pl.Float64) - cost,
        )
        if context.objective.uplift is not None:
            value = _value(decision, context, table["offer_id"][0])
            own = value[rows_of(table["customer_id"], pl.Series(context.scores.customer))]
            table = table.with_columns(expected_value=pl.Series(own) - cost)
    optional: list[str] = [name for name in ("probability", "explored") if name in table.columns]
    if "reasons" in table.columns:
        table = table.with_columns(_reason(k).alias(f"reason_{k + 1}") for k in range(MAX_REASONS))
        optional += [f"reason_{k + 1}" for k in range(MAX_REASONS)]
    return table.select(*MESSAGE, "score", "expected_value", *optional).with_columns(
        pl.col("customer_id").cast(pl.String), pl.col("score").cast(pl.Float64), holdout=pl.lit(False)
    )


def _reason(place: int) -> pl.Expr:
    """The sentence of a reason, null where there are fewer."""
    sentence = pl.col("reasons").list.get(place, null_on_oob=True).struct.field("sentence")
    return pl.when(sentence != "").then(sentence)


def _value(decision: Audience, context: DecisionContext, offer: str) -> np.ndarray:
    """(N,) what an audience is ranked by."""
    return decision.value(context, context.offer(offer), decision.ranked_by(context))


def _held(decision: Sending, context: DecisionContext, messages: pl.DataFrame) -> pl.DataFrame:
    """One row per customer of a holdout whom a campaign would have admitted."""
    held = messages.clear()
    if context.held is None:
        return held
    inner = context.changed(held=~context.held)
    if not isinstance(decision, Audience):
        held = held_triggers(decision, inner, messages)
    if not messages.height:
        return held
    if isinstance(decision, Audience):
        m = context.offer(messages["offer_id"][0])
        recency = None if context.history is None else decision.recency(context, m)
        excluded = decision.exclusions(inner, m, recency)
        value = _value(decision, context, messages["offer_id"][0])
        admitted = ~np.logical_or.reduce([np.zeros(value.size, bool), *excluded.values()])
        earned = value if context.objective.uplift is not None else decision.margin * context.scores.revenue[:, m]
        net = earned.astype(np.float64) - (decision.cost or 0.0)
        return _flagged(context, messages, value, admitted, net)
    parts = [held]
    for campaign in decision.requested(context):
        own = messages.filter(pl.col("campaign") == campaign.name)
        if own.height:
            theirs, sent = (_campaign_value(each, campaign, decision.margin) for each in (inner, context))
            cost = decision.cost if campaign.cost is None else campaign.cost
            parts.append(_flagged(context, own, np.maximum(theirs, sent), np.isfinite(theirs), theirs - cost))
    return pl.concat(parts, how="diagonal")


def _campaign_value(context: DecisionContext, campaign: Campaign, margin: float) -> np.ndarray:
    """(N,) value of a message, -inf for customers who are not admitted."""
    try:
        return contact_value(context, campaign, margin).astype(np.float64)
    except InfeasibleError:
        return np.full(context.scores.customer.size, -np.inf)


def _flagged(
    context: DecisionContext,
    messages: pl.DataFrame,
    value: np.ndarray,
    admitted: np.ndarray,
    net: np.ndarray,
) -> pl.DataFrame:
    """The admitted customers of the holdout whose value is at least the lowest of the messages of a campaign."""
    drawn = pl.col("explored") if "explored" in messages.columns else pl.lit(False)
    rows = rows_of(messages.filter(~drawn)["customer_id"], pl.Series(context.scores.customer))
    row = np.flatnonzero(admitted & (value >= (value[rows].min() if rows.size else np.inf)))
    row = row[best_first(value[row], context.scores.customer[row])]
    first = messages.row(0, named=True) | {"day": messages["day"].min()}
    return held_rows(context, HeldMessage(*(first[name] for name in HeldMessage._fields)), row, net)


def _with_arms(table: pl.DataFrame, arms: pl.DataFrame | None, drawn: bool) -> pl.DataFrame:
    """The rows with their arm, and the probability of having been given exactly this arm and message."""
    chance = pl.col("probability") if drawn and "probability" in table.columns else pl.lit(1.0)
    if arms is None:
        return table.with_columns(arm=pl.lit(None, pl.String), probability=chance)
    own = arms.select("customer_id", "arm", own=pl.col("probability"))
    table = table.join(own, on="customer_id", how="left", maintain_order="left")
    by_arm = pl.when("holdout").then("own").otherwise(chance if drawn else pl.col("own"))
    return table.with_columns(probability=by_arm).drop("own")


def _attributes(context: DecisionContext, names: Sequence[str]) -> pl.DataFrame:
    """The chosen attributes of all customers, text in a form that no spreadsheet runs."""
    ids = pl.DataFrame({"customer_id": pl.Series(context.scores.customer).cast(pl.String)})
    log = context.event_log
    sources = [] if context.customers is None else [context.customers]
    if log is not None:
        rows = rows_of(pl.Series(context.scores.customer), log.customers["customer"])
        place = pl.DataFrame({"row": pl.Series(rows, dtype=pl.Int64)})
        numbered = log.customers.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
        sources.append(place.join(numbered, on="row", how="left", maintain_order="left"))
    columns = []
    for name in names:
        source = next((each for each in sources if name in each.columns), None)
        if source is None or name in MESSAGE:
            known = sorted({column for each in sources for column in each.columns} - {"row", "customer_id", "customer"})
            near = difflib.get_close_matches(name, known, 1, 0.0)
            advice = f"did you mean {near[0]}?" if near else "give customers=<file> that holds it"
            raise ConfigurationError(f"attributes names {name}, which no table of customers holds; {advice}")
        columns.append(source[name].alias(name))
    return ids.with_columns(columns)


def _left_out(decision: Sending, context: DecisionContext, messages: pl.DataFrame) -> pl.DataFrame:
    """One row per customer and channel who may not get a message, with the reason."""
    parts = []
    for channel in messages["channel"].unique().sort().to_list():
        if isinstance(decision, Audience):
            m = context.offer(messages["offer_id"][0])
            recency = None if context.history is None or decision.recent is None else decision.recency(context, m)
            masks = decision.exclusions(context, m, recency)
        else:
            masks = dict(context.gate.permission(channel).left_out)
            masks = {reason: mask & ~context.gate.reachable(channel) for reason, mask in masks.items()}
        left = np.ones(context.scores.customer.size, bool)
        for reason, mask in masks.items():
            if reason != HELD:
                own = context.scores.customer[mask & left]
                ids = pl.Series(own, dtype=pl.String) if own.size == 0 else pl.Series(own).cast(pl.String)
                parts.append(
                    pl.DataFrame({"customer_id": ids}).with_columns(
                        channel=pl.lit(channel or ANY), reason=pl.lit(reason)
                    )
                )
                left &= ~mask
    schema = {"customer_id": pl.String, "channel": pl.String, "reason": pl.String}
    return pl.concat([pl.DataFrame(schema=schema), *parts])


def _summary(
    table: pl.DataFrame, left_out: pl.DataFrame, context: DecisionContext, result: DecisionResult
) -> dict[str, Any]:
    """Every number of the list."""
    message = ~pl.col("holdout")
    campaigns = table.group_by("campaign", "channel", maintain_order=True).agg(
        messages=message.sum(),
        holdouts=pl.col("holdout").sum(),
        expected_value=pl.col("expected_value").filter(message).sum(),
    )
    reasons = left_out.group_by("channel", "reason", maintain_order=True).len("customers")
    warnings = [sentence for sentence in result.sentences if sentence.startswith(IGNORED)]
    objectors = context.profiling_objectors
    return {
        "decision": result.name,
        "cutoff": context.scores.cutoff,
        "currency": context.currency,
        "messages": int((~table["holdout"]).sum()),
        "holdouts": int(table["holdout"].sum()),
        "campaigns": campaigns.to_dicts(),
        "left_out": reasons.to_dicts(),
        "object_to_profiling": objectors,
        "warnings": warnings,
        "sentences": result.sentences,
    }


def files_of(sent: SendList, out: str | Path) -> list[Path]:
    """Where the messages of each campaign and channel go.

    Parameters
    ----------
    sent : SendList
        The messages.
    out : str or Path
        Path with the suffix .csv or .parquet.

    Returns
    -------
    list of Path
        `out` itself where all messages are of one campaign and channel. Otherwise one file for each of them, in a
        folder of the name of `out` without its suffix.
    """
    out, groups = Path(out), _groups(sent)
    if len(groups) <= 1:
        return [out]
    stems = unique_stems(f"{stem_of(campaign)}-{stem_of(channel or ANY)}" for campaign, channel in groups)
    return [out.with_suffix("") / f"{stem}{out.suffix}" for stem in stems]


def _groups(sent: SendList) -> list[tuple[str, str | None]]:
    return sent.table.select("campaign", "channel").unique(maintain_order=True).rows()


def save_list(sent: SendList, out: str | Path) -> list[Path]:
    """Write the messages, who was left out, and the summary; each file whole or not at all.

    Parameters
    ----------
    sent : SendList
        The messages.
    out : str or Path
        Path with the suffix .csv or .parquet.

    Returns
    -------
    list of Path
        The files of messages. `<out>.left_out.csv`, `<out>.json` and `<out>.exploration.parquet` lie beside a single
        one, `left_out`, `summary.json` and `exploration.parquet` in the folder of several.

    Raises
    ------
    ConfigurationError
        If the folder of several files holds something else.
    """
    out, paths = Path(out), files_of(sent, out)
    named = [{**row, "file": path.name} for row, path in zip(sent.summary["campaigns"], paths, strict=False)]
    summary = json.dumps(sent.summary | {"campaigns": named}, indent=1, default=str)
    if len(paths) == 1:
        with whole_file(out.with_suffix(".json")) as draft:
            draft.write_text(summary)
        with whole_file(out.with_suffix(f".left_out{out.suffix}")) as draft:
            _write(sent.left_out, draft, out.suffix, [])
        if sent.exploration is not None:
            with whole_file(out.with_suffix(".exploration.parquet")) as draft:
                sent.exploration.write_parquet(draft)
        with whole_file(out) as draft:
            _write(sent.table, draft, out.suffix, sent.summary["warnings"])
        return paths
    folder = out.with_suffix("")
    if holds_other(folder, SUMMARY):
        raise ConfigurationError(f"{folder} holds something else than send lists; give another out")
    with whole_folder(folder) as draft:
        for (campaign, channel), path in zip(_groups(sent), paths, strict=True):
            own = (pl.col("campaign") == campaign) & pl.col("channel").eq_missing(pl.lit(channel, pl.String))
            _write(sent.table.filter(own), draft / path.name, out.suffix, sent.summary["warnings"])
        _write(sent.left_out, draft / f"left_out{out.suffix}", out.suffix, [])
        if sent.exploration is not None:
            sent.exploration.write_parquet(draft / "exploration.parquet")
        (draft / SUMMARY).write_text(summary)
    return paths


def check_list(decision: Any, out: str | Path, attributes: Sequence[str], reasons: int | None) -> None:
    """Refuse what a send list cannot hold, before anything is read.

    Raises
    ------
    ConfigurationError
        If the decision sends no messages, attributes are for no list, or there are more than three reasons.
    """
    if not is_list(out):
        if attributes:
            raise ConfigurationError(f"attributes are of a send list, and {out} names a folder; give out=list.csv")
        return
    if not isinstance(decision, SENDING):
        name = type(decision).__name__
        raise ConfigurationError(
            f"{name} sends no messages, so {out} cannot be its send list; give out={Path(out).with_suffix('')}, or "
            "decision=audience, campaign or next_best"
        )
    if reasons is not None and reasons > MAX_REASONS:
        raise ConfigurationError(
            f"reasons={reasons}: a send list has at most {MAX_REASONS}; give {MAX_REASONS} or less"
        )
    if twice := sorted({name for name in attributes if list(attributes).count(name) > 1}):
        raise ConfigurationError(f"attributes names {twice[0]} twice; name it once")


def _write(table: pl.DataFrame, path: Path, suffix: str, warnings: Sequence[str]) -> None:
    """One file; in CSV no text is a formula."""
    if suffix == ".parquet":
        table.write_parquet(path, metadata={WARNINGS: json.dumps(list(warnings))} if warnings else None)
        return
    texts = [name for name, kind in table.schema.items() if kind == pl.String]
    numbers = [pl.col(name).round(6) for name, kind in table.schema.items() if kind.is_float()]
    safe = [pl.Series(name, [neutral(value) for value in table[name].to_list()], pl.String) for name in texts]
    table.with_columns(*safe, *numbers).write_csv(path)
