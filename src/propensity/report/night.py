"""The page of a night: what was delivered, trained, promoted, scored and decided, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from rich.markup import escape

from propensity.report.number import DASH, decimal
from propensity.report.table import SCREEN, plain_table
from propensity.report.value import Section

TEMPLATE, STYLE = "night.html.j2", "page.css"
SERVED = 14  # nights that `propensity registry list` shows
VERDICTS = {"win": "▲ win", "tie": "● tie", "loss": "▼ loss", "undefined": "not defined"}


def night_page(summary: Mapping[str, Any]) -> str:
    """The page of summary.json, which needs no network.

    Parameters
    ----------
    summary : mapping
        Result of `propensity.nightly.summary.summary`.
    """
    environment = Environment(
        loader=FunctionLoader(_part), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    parts = (deliveries, models, comparison, decisions, warnings)
    return environment.get_template(TEMPLATE).render(
        style=Markup(_part(STYLE)),
        title=f"Night of {summary['night']}",
        sentence=sentence(summary),
        problems=[f"{each['step']}: {each['reason']}" for each in summary["problems"]],
        notes=summary["notes"],
        cards=cards(summary),
        sections=[section for part in parts if (section := part(summary)) is not None],
    )


def sentence(summary: Mapping[str, Any]) -> str:
    """What became of the night, in one sentence."""
    appended = sum(each["state"] == "appended" for each in summary["deliveries"])
    lists = sum("problem" not in each for each in summary["decisions"])
    trained = (summary["train"] or {}).get("trained")
    promoted = (summary["promote"] or {}).get("promoted")
    model = "a new model was trained and made live" if promoted else "a new model was trained and not made live"
    model = model if trained else "no model was trained"
    count = len(summary["problems"])
    state = (
        "Nothing needs attention"
        if not count
        else f"{count} {'problem needs' if count == 1 else 'problems need'} attention"
    )
    return f"{state}: {_many(appended, 'delivery', 'deliveries')} appended, {model}, {_many(lists, 'decision')} made."


def _many(count: int, one: str, several: str | None = None) -> str:
    """A count with its noun.

    >>> _many(1, "decision"), _many(2, "delivery", "deliveries")
    ('1 decision', '2 deliveries')
    """
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def cards(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The main figures: text, title and a line below."""
    log, score, live = summary["log"] or {}, summary["score"] or {}, summary["live_model"] or {}
    drift = summary["drift"] or {}
    alarms = len(drift.get("alarms", []))
    measured = drift.get("measured", False)
    return [
        (f"{log.get('events', 0):,}", "Events in the log", f"{log.get('first_day')} to {log.get('last_day')}"),
        (f"{score.get('customers', 0):,}", "Customers scored", f"for {_many(score.get('offers', 0), 'offer')}"),
        (summary["live"] or DASH, "Live model", f"last label before {live.get('last_label')}" if live else "none yet"),
        (
            f"{alarms}" if measured else DASH,
            "Alarms of the drift",
            f"{drift['drifted']} of {drift['columns']} inputs drifted"
            if measured
            else drift.get("why", "not measured"),
        ),
    ]


def deliveries(summary: Mapping[str, Any]) -> Section | None:
    """A row for every file."""
    rows = []
    for each in summary["deliveries"]:
        counts = each["rows"]
        left_out = {
            code: count
            for way in ("merged", "quarantined", "dropped")
            for code, count in (counts.get(way) or {}).items()
        }
        why = ", ".join(f"{count:,} {code}" for code, count in left_out.items())
        days = f"{each['first_day']} to {each['last_day']}" if each["first_day"] else DASH
        numbers = [f"{counts[key]:,}" if key in counts else DASH for key in ("in", "used")]
        rows.append([each["file"], each["state"], days, *numbers, why or DASH])
    text = "Rows that were read and used; the others by the rule that left them out. Held deliveries change nothing."
    head = ["file", "state", "days", "read", "used", "left out"]
    return Section("Deliveries", text, head, rows) if rows else None


def models(summary: Mapping[str, Any]) -> Section | None:
    """Why a model was trained or not, and promoted or not."""
    train, promote = summary["train"], summary["promote"]
    if train is None:
        return None
    rows = [["trained", "yes" if train["trained"] else "no", train["reason"]]]
    if train["trained"]:
        rows.append(["model", train["model"], train["choice"]])
    if train["trained"] and promote is not None:
        rows.append(["made live", "yes" if promote["promoted"] else "no", promote["why"]])
    return Section("Model", "propensity registry list shows all models.", ["step", "result", "reason"], rows)


def comparison(summary: Mapping[str, Any]) -> Section | None:
    """Live model against challenger, by metric."""
    compare = summary["compare"]
    if not compare or compare.get("verdict") is None:
        return None
    rows = [
        [
            metric["title"],
            _number(metric["live"]),
            _number(metric["challenger"]),
            _interval(metric),
            VERDICTS.get(metric["verdict"] or "undefined", DASH),
            _number(metric["minimum_detectable_effect"]),
        ]
        for metric in compare["metrics"].values()
    ]
    text = (
        f"{compare['live']} is the live model, {compare['challenger']} the challenger; {compare['customers']:,} "
        f"customers at {compare['window']}, after the last labels of both. The difference is challenger minus "
        "live model, with its 95 % interval from a paired bootstrap over customers."
    )
    head = ["metric", "live", "challenger", "difference", "verdict", "minimum detectable effect"]
    return Section("Live model against challenger", text, head, rows)


def decisions(summary: Mapping[str, Any]) -> Section | None:
    """A row for every decision."""
    rows = [
        [
            each["name"],
            each.get("offer") or DASH,
            f"{each['rows']:,}" if "rows" in each else DASH,
            each.get("path", "not made"),
            each.get("problem") or "; ".join(each.get("sentences", [])) or DASH,
        ]
        for each in summary["decisions"]
    ]
    text = "Paths start at the state folder."
    head = ["decision", "offer", "rows", "written to", "what to know"]
    return Section("Decisions and send lists", text, head, rows) if rows else None


def warnings(summary: Mapping[str, Any]) -> Section | None:
    """Warnings of the training, and alarms of the drift."""
    found = [("training", text) for text in (summary["train"] or {}).get("warnings", [])]
    found += [("drift", text) for text in (summary["drift"] or {}).get("alarms", [])]
    return (
        Section("Warnings", "They stop nothing.", ["step", "warning"], [list(each) for each in found])
        if found
        else None
    )


def _number(value: float | None) -> str:
    return DASH if value is None else decimal(value, 4)


def _interval(cell: Mapping[str, Any]) -> str:
    if cell["value"] is None:
        return DASH
    value = decimal(cell["value"], 4, signed=True)
    if cell["low"] is None:
        return value
    return f"{value} [{decimal(cell['low'], 4, signed=True)}, {decimal(cell['high'], 4, signed=True)}]"


def _part(name: str) -> str:
    return files("propensity.report").joinpath(name).read_text(encoding="utf-8")


def show_night(summary: Mapping[str, Any], times: Sequence[Mapping[str, Any]], page: Path) -> None:
    """Print what became of the night, the time of the steps that were done, and where the page is.

    Parameters
    ----------
    summary : mapping
        Content of summary.json.
    times : sequence of mapping
        See `propensity.nightly.meter.times_of`.
    page : Path
        The page of the night.
    """
    SCREEN.print(f"[bold]night of {escape(summary['night'])}[/bold]", highlight=False)
    SCREEN.print(sentence(summary), highlight=False, markup=False, soft_wrap=True)
    for note in summary["notes"]:
        SCREEN.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    for each in summary["problems"]:
        SCREEN.print(f"{each['step']}: {each['reason']}", highlight=False, markup=False, soft_wrap=True)
    if times:
        table = plain_table("time and memory of the steps, over all attempts")
        for name in ("step", "wall s", "CPU s", "peak MB"):
            table.add_column(name, justify="left" if name == "step" else "right")
        for step in dict.fromkeys(each["step"] for each in times):
            own = [each for each in times if each["step"] == step]
            wall, cpu = (sum(each[f"{kind}_seconds"] for each in own) for kind in ("wall", "cpu"))
            table.add_row(step, f"{wall:,.1f}", f"{cpu:,.1f}", f"{max(each['peak_bytes'] for each in own) / 1e6:,.0f}")
        SCREEN.print(table)
    SCREEN.print(f"results: {page}", highlight=False, markup=False, soft_wrap=True)


def show_registry(registry: Mapping[str, Any]) -> None:
    """Print models, promotions, and what was served on the last nights.

    Parameters
    ----------
    registry : mapping
        Content of registry.json.
    """
    if not registry["models"]:
        SCREEN.print("no models yet: the first night that trains adds one", highlight=False, soft_wrap=True)
        return
    table = plain_table("models")
    for name in ("model", "live", "labels before", "bundle", "why it was trained"):
        table.add_column(name, no_wrap=name != "why it was trained")
    for name, model in registry["models"].items():
        live = "live" if name == registry["live"] else ""
        table.add_row(name, live, model["last_label"], (model["digest"] or DASH)[:8], escape(model["reason"]))
    SCREEN.print(table)
    table = plain_table("promotions and rollbacks, oldest first")
    for name in ("night", "action", "model", "why"):
        table.add_column(name, no_wrap=name != "why")
    for each in registry["history"]:
        table.add_row(each["night"], each["action"], each["model"], escape(each["why"]))
    SCREEN.print(table)
    table = plain_table(f"served on the last {SERVED} nights")
    for name in ("night", "model", "log"):
        table.add_column(name)
    for night in sorted(registry["served"])[-SERVED:]:
        served = registry["served"][night]
        table.add_row(night, served["model"], served["log"])
    SCREEN.print(table)
