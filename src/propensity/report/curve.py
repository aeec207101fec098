"""Learning curves of a run as a drawing: losses, and how well validation pairs are ranked, over optimizer steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from propensity.atomic import whole_file
from propensity.report.chart import WIDTH, ModelStyle, axes, marker, path, plot_area, svg, text_at, value_range
from propensity.training.curve import Curve, load_curves

FILE = "curves.svg"
HEIGHT, LEGEND = 240, 26
STYLE = (
    "svg{background:#fff;font-family:system-ui,sans-serif}text{font-size:12.5px;fill:#3b4653}"
    "text.name{font-size:13.5px;fill:#1c2430}.grid{stroke:#e6eaee}"
)
LOSSES = {
    "train/loss_step": ("training, a batch", ModelStyle("#b9c2cc", "", "circle", 1.2)),
    "train/loss_epoch": ("training, an epoch", ModelStyle("#0072B2", "", "circle")),
    "val/loss": ("validation", ModelStyle("#D55E00", "9 4", "square")),
}
RANKINGS = {
    "val/auc": ("all pairs", ModelStyle("#D55E00", "9 4", "square")),
    "val/never_bought/auc": ("never-bought pairs", ModelStyle("#009E73", "2 3", "triangle")),
}
PANELS = (("loss", LOSSES), ("validation AUC", RANKINGS))


def learning_curves(curves: Mapping[str, Curve]) -> Markup | None:
    """A drawing with one panel for the losses and one for validation AUC, as far as there are curves; None without any.

    Parameters
    ----------
    curves : by metric, as `load_curves` gives them.
    """
    panels = [_panel(title, shown, curves) for title, shown in PANELS if any(name in curves for name in shown)]
    if not panels:
        return None
    placed = [
        Markup('<svg x="0" y="{}" width="{}" height="{}">{}</svg>').format(
            (HEIGHT + LEGEND) * k, WIDTH, HEIGHT + LEGEND, panel
        )
        for k, panel in enumerate(panels)
    ]
    return svg("Learning curves", (HEIGHT + LEGEND) * len(panels), *placed)


def _panel(title: str, shown: Mapping[str, tuple[str, ModelStyle]], curves: Mapping[str, Curve]) -> Markup:
    """A legend, and below it axes and lines."""
    known = {name: curves[name] for name in shown if name in curves}
    steps = [step for curve in known.values() for step in curve.step]
    values = [value for curve in known.values() for value in curve.value]
    area = plot_area((0.0, float(max(steps))), value_range(values), height=HEIGHT)
    parts, legend = [axes(area, ("optimizer steps", title), (_whole, _short))], []
    for place, (name, curve) in enumerate(known.items()):
        label, style = shown[name]
        parts.append(path(area, list(zip(map(float, curve.step), curve.value, strict=True)), style, label))
        if name != "train/loss_step":
            parts += [
                marker(*area.at((x, y)), style, f"{y:.4f}", 3.0) for x, y in zip(curve.step, curve.value, strict=True)
            ]
        at = area.x.start + 6 + 140 * place
        legend += [marker(at, LEGEND - 9, style, size=4.0), text_at(at + 10, LEGEND - 5, label)]
    inside = Markup('<svg x="0" y="{}" width="{}" height="{}">{}</svg>')
    return Markup("").join([*legend, inside.format(LEGEND, WIDTH, HEIGHT, Markup("").join(parts))])


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _short(value: float) -> str:
    return f"{value:g}"


def standalone(drawing: Markup) -> str:
    """A drawing of the page as a file of its own, with the style that the page would give it."""
    head, _, rest = str(drawing).removeprefix("<svg ").partition(">")
    width, height = (2 * float(each) for each in head.split('"')[1].split()[2:])  # of viewBox="0 0 width height"
    opened = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" {head}>'
    return f"{opened}<style>{STYLE}</style>{rest}\n"


def save_curves(run: str | Path) -> Path | None:
    """Leaves `curves.svg` in a run; None where it kept no curves (`logger=none`)."""
    made = learning_curves(load_curves(run))
    if made is None:
        return None
    target = Path(run) / FILE
    with whole_file(target) as draft:
        draft.write_text(standalone(made))
    return target


def dots(rows: Sequence[tuple[str, float]], title: str) -> Markup:
    """One row per label with a dot at its value, for a handful of trainings."""
    step, top = 20, 14
    left = 250
    height = top + step * len(rows) + 62
    area = plot_area(value_range([value for _, value in rows]), (0.0, 1.0), height=height, left=left)
    style = ModelStyle("#0072B2", "", "circle")
    parts = [axes(area, (title, ""), (_short, _short), rows=False)]
    for place, (label, value) in enumerate(rows):
        middle = top + step * (place + 0.5)
        short = label if len(label) <= 36 else f"{label[:35]}…"
        parts += [
            text_at(left - 10, middle + 4, short, "end"),
            marker(area.x.at(value), middle, style, f"{label}: {value:g}"),
        ]
    return svg(f"{title} of each job", height, *parts)
