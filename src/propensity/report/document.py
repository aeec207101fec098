"""The model card and the data sheet of a run as Markdown, from the numbers of metrics.json.

Source: Mitchell et al., Model Cards for Model Reporting, FAT* 2019; Gebru et al., Datasheets for Datasets, CACM 2021.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from propensity.atomic import whole_file
from propensity.champion.model_name import in_text, name_of
from propensity.explain.section import KINDS, ordered
from propensity.metric.headline import served_model
from propensity.report.expected_over_observed import ratio_lines
from propensity.report.markdown import markdown_table, plain_text
from propensity.report.number import DASH, GAP, LOG_CURRENCY, decimal, percent, shown_metrics
from propensity.report.reliance import TITLES
from propensity.report.verdict import baseline_of, served_words, verdict_line

MODEL_CARD, DATA_SHEET = "model_card.md", "data_sheet.md"
USE = (
    "Rank customers for offers, choose audiences, and plan campaigns and budgets, for the retailer whose log the model "
    "was trained on.",
    "Decide to whom marketing is sent, after the consent of each customer; the decisions of this package respect it.",
)
NO_USE = (
    "Decisions with legal or similarly important effects on a person, such as prices, credit or employment.",
    "Customers of another retailer, or offers of another market.",
    "Statements that an offer or a message causes a purchase: scores predict what happens without a change.",
)
LIMITS = (
    "A score describes what customers with similar histories did. It is no statement about one person's intent.",
    "Reasons describe what the model computes from, not why a customer buys.",
    "Intervals cover the sampling of customers, not of weeks.",
)


def write_documents(metrics: Mapping[str, Any], folder: str | Path) -> None:
    """Write model_card.md and data_sheet.md; each appears whole or not at all.

    Parameters
    ----------
    metrics : mapping
        The content of metrics.json.
    folder : str or Path
        Folder of the run.
    """
    for name, text in ((MODEL_CARD, model_card(metrics)), (DATA_SHEET, data_sheet(metrics))):
        with whole_file(Path(folder) / name) as draft:
            draft.write_text(text, encoding="utf-8")


def model_card(metrics: Mapping[str, Any]) -> str:
    """The model card: what is served, its use, training, metrics, reliance, warnings and limits.

    Parameters
    ----------
    metrics : mapping
        The content of metrics.json.
    """
    return document(
        "# Model card",
        f"**{verdict_line(metrics)}**",
        "## Model",
        bullets(model_facts(metrics)),
        "## Intended use",
        bullets(USE),
        "Not intended:",
        bullets(NO_USE),
        "## Training",
        bullets(training_facts(metrics)),
        "## Metrics",
        f"Mean over the cutoffs {', '.join(metrics['counts'])}; 95 % intervals from a paired bootstrap over customers.",
        metric_lines(metrics),
        totals(metrics),
        *reliance_parts(metrics),
        "## Warnings",
        bullets(metrics.get("warnings") or ["The evaluation gave no warnings."]),
        "## Limits",
        bullets(LIMITS),
    )


def data_sheet(metrics: Mapping[str, Any]) -> str:
    """The data sheet: source, composition, cleaning with counts by reason, windows, and what is known about persons.

    Parameters
    ----------
    metrics : mapping
        The content of metrics.json.
    """
    run = metrics.get("run") or {}
    log, rows = run.get("log") or {}, run.get("rows") or {}
    return document(
        "# Data sheet",
        "## Source",
        bullets(
            known(
                ("Source", run.get("source")),
                ("Fingerprint of the log", run.get("data")),
                ("Currency", run.get("currency") or LOG_CURRENCY),
                ("First day", log.get("first_day")),
                ("Last day", log.get("last_day")),
            )
        ),
        "## Composition",
        bullets(composition(log)),
        "## Cleaning",
        row_lines(rows) or "The log does not count its raw rows.",
        bullets(f"{name}: {value}" for name, value in (log.get("warnings") or {}).items()),
        "## Labels",
        f"A pair of customer and offer is positive if the customer buys the offer within {run.get('horizon')} days.",
        label_lines(metrics),
        "## Persons",
        bullets(person_facts(run)),
    )


def document(*parts: str) -> str:
    """Parts of a Markdown file, without empty ones."""
    return "\n\n".join(part for part in parts if part).replace(GAP, " ") + "\n"


def bullets(sentences: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"- {plain_text(str(sentence))}" for sentence in sentences)


def known(*facts: tuple[str, Any]) -> list[str]:
    """The facts that have a value.

    Examples
    --------
    >>> known(("Seed", 17), ("Commit", None))
    ['Seed: 17']
    """
    return [f"{name}: {value}" for name, value in facts if value not in (None, "", [])]


def model_facts(metrics: Mapping[str, Any]) -> list[str]:
    """What is served, and by which code."""
    run = metrics.get("run") or {}
    libraries = ", ".join(f"{name} {version}" for name, version in (run.get("libraries") or {}).items())
    task = f"Task: the probability and the expected revenue of purchases within {run.get('horizon')} days"
    facts = known(("Offers", run.get("offers")), ("Seed", run.get("seed")), ("Commit", run.get("commit")))
    words = served_words(metrics) or f"Served model: {in_text(served_model(metrics))}."
    return [words, task, *facts, *known(("Libraries", libraries))]


def training_facts(metrics: Mapping[str, Any]) -> list[str]:
    """Windows and size of the training."""
    run = metrics.get("run") or {}
    cutoffs, validation = run.get("cutoffs") or [], run.get("validation") or []
    windows = f"{len(cutoffs)} cutoffs from {cutoffs[0]} to {cutoffs[-1]}" if run.get("end") and cutoffs else None
    examples = run.get("examples")
    return known(
        ("Training windows", windows or "one training for each cutoff, on label windows that closed by then"),
        ("Training labels end", run.get("end")),
        ("Validation windows", ", ".join(map(str, validation))),
        ("Last label that training or validation saw", run.get("last_label")),
        ("Examples", f"{examples:,} (a customer at a cutoff)" if isinstance(examples, int) else examples),
    )


def metric_lines(metrics: Mapping[str, Any]) -> str:
    """Metrics of the served model, with intervals, beside the strongest baseline."""
    names = [name for name in (served_model(metrics), baseline_of(metrics)) if name]
    rows = []
    for key, metric in shown_metrics(metrics).items():
        cells = [metrics["models"][name]["mean"]["all"][key] for name in names]
        values = [DASH if each["value"] is None else f"{metric.value(each)} {metric.interval(each)}" for each in cells]
        rows.append([metric.title, *map(str.strip, values)])
    return markdown_table(["metric", *map(name_of, names)], rows)


def totals(metrics: Mapping[str, Any]) -> str:
    """Expected over observed purchases and revenue."""
    rows = [list(line) for line in ratio_lines(metrics)]
    return markdown_table(["expected / observed", "all cutoffs", "by cutoff"], rows) if rows else ""


def reliance_parts(metrics: Mapping[str, Any]) -> list[str]:
    """What the model relies on; nothing where no scores were explained."""
    section = metrics.get("reliance")
    if not section:
        return []
    rows = [
        [
            group["title"],
            *(f"{group[k]['value']:.2f} [{group[k]['low']:.2f}, {group[k]['high']:.2f}]" for k in KINDS),
            group["meaning"],
        ]
        for group in ordered(section)
    ]
    text = (
        f"Mean absolute contribution to the log-odds, {section['customers']} customers on {section['cutoff']}; 95 % "
        f"intervals from a bootstrap over customers. The {section['sentences']} largest groups carry "
        f"{percent(section['carried']['any'], 0)} of the median score."
    )
    return ["## What the model relies on", text, markdown_table(["group", *TITLES.values(), "columns"], rows)]


def composition(log: Mapping[str, Any]) -> list[str]:
    """Customers, items and events."""
    counts = [(f"Events, {kind}", f"{count:,}") for kind, count in (log.get("events") or {}).items()]
    totals = [(name.title(), f"{log[name]:,}") for name in ("customers", "items") if name in log]
    columns = (
        ("Channels", ", ".join(log.get("channels") or [])),
        ("Attributes of items", ", ".join(log.get("item_columns") or [])),
        ("Lines that are not products by name, which were kept and may be offers", kept_lines(log)),
    )
    return known(*totals, *counts, *columns)


def kept_lines(log: Mapping[str, Any]) -> str:
    """Lines that are not products but were kept, by name.

    Examples
    --------
    >>> kept_lines({"not_products_kept": {"FUEL": 1200, "COUPON": 30}})
    'FUEL (1,200), COUPON (30)'
    """
    return ", ".join(f"{name} ({rows:,})" for name, rows in (log.get("not_products_kept") or {}).items())


def row_lines(rows: Mapping[str, Any]) -> str:
    """Raw rows by what became of them, and why."""
    if "in" not in rows:
        return ""
    lines = [["read", "", decimal(rows["in"], 0)], ["used", "", decimal(rows["used"], 0)]]
    for fate in ("merged", "quarantined", "dropped"):
        lines += [[fate, str(reason), decimal(count, 0)] for reason, count in (rows.get(fate) or {}).items()]
    return markdown_table(["rows", "reason", "count"], lines)


def label_lines(metrics: Mapping[str, Any]) -> str:
    """Customers, offers, pairs and purchases of each cutoff of the evaluation."""
    names = ("customers", "offers", "pairs", "positives")
    rows = [[day, *(decimal(count[name], 0) for name in names)] for day, count in metrics["counts"].items()]
    return markdown_table(["cutoff", *names], rows)


def person_facts(run: Mapping[str, Any]) -> Sequence[str]:
    """What the log knows about persons, and what the model reads of it."""
    data = (run.get("config") or {}).get("data") or {}
    feature = data.get("feature") or {}
    used = dict.fromkeys([*(feature.get("attributes") or []), *(feature.get("group_rates") or [])])
    columns = (run.get("log") or {}).get("customer_columns")
    return [
        *([] if columns is None else [f"Attributes of customers in the log: {', '.join(columns) or 'none'}"]),
        f"Attributes that the model reads: {', '.join(used) or 'none'}",
        f"Ids are {'hashed with a key' if data.get('pseudonym') else 'those of the source'}",
        "A customer is removed by propensity forget, and gets a copy of the data by propensity export-customer",
    ]
