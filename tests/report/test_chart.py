"""Drawings: numbers land in the frame, text is escaped, and nothing undefined is drawn."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propensity.metric.builtin import METRICS
from propensity.report.chart import (
    CORNERS,
    WIDTH,
    Axis,
    ModelStyle,
    axes,
    marker,
    path,
    plot_area,
    svg,
    text_at,
    value_range,
)
from propensity.report.figure import (
    STYLES,
    DotRow,
    dot_rows,
    expected_and_realised,
    reliability,
    revenue_curves,
    style_of,
)
from propensity.report.number import decimal, shown_metrics

FORMATS = shown_metrics({"metrics": {metric.name: metric.described(0.1) for metric in METRICS}})
NUMBER = st.floats(-1e9, 1e9)
HOSTILE = '"><script>alert(1)</script>'
NAMED = {"network": "Network", HOSTILE: HOSTILE}


def numbers(svg: str) -> list[float]:
    """Every place of the drawing; of a mark, its beginning."""
    root = ElementTree.fromstring(svg)
    wanted = [element.get(key, "") for element in root.iter() for key in ("points", "x", "y", "x1", "x2", "y1", "y2")]
    wanted += [" ".join(element.get("d", "").split()[1:3]) for element in root.iter("path")]
    return [float(found) for text in wanted for found in re.findall(r"[^ ,]+", text)]


@given(st.lists(NUMBER, min_size=1), NUMBER)
def test_every_number_lands_in_the_frame(values, other):
    box = plot_area(value_range(values), value_range(values))
    for value in [*values, other]:
        x, y = box.at((value, value))
        assert box.x.start <= x <= box.x.end and box.y.end <= y <= box.y.start


@given(st.lists(st.floats(1e-6, 1e9), min_size=1), st.floats(0, 1e12))
def test_a_log_axis_keeps_the_order_and_the_frame(values, other):
    axis = Axis(*value_range(values, log=True), 10, 500, log=True)
    places = [axis.at(value) for value in sorted([*values, other])]
    assert places == sorted(places) and places[0] >= 10 and places[-1] <= 500


@given(NUMBER, st.floats(1e-3, 1e6))
def test_ticks_are_few_ascending_and_inside(low, width):
    axis = Axis(low, low + width, 0, 1)
    ticks = axis.ticks()
    assert len(ticks) <= 8 and ticks == sorted(set(ticks))
    assert all(low - width * 1e-6 <= tick <= low + width * (1 + 1e-6) for tick in ticks)


def test_where_nothing_is_known_an_axis_is_still_one():
    assert value_range([math.nan, math.inf]) == (0.0, 1.0)
    assert value_range([0.0, -1.0], log=True) == (0.1, 1.0)
    low, high = value_range([3.0])
    assert low < 3.0 < high


def test_text_cannot_leave_its_place():
    box = plot_area((0, 1), (0, 1))
    style = STYLES["network"]
    parts = [text_at(1, 1, HOSTILE), marker(1, 1, style, HOSTILE), path(box, [(0, 0), (1, 1)], style, HOSTILE)]
    parts.append(axes(box, (HOSTILE, HOSTILE), (lambda _: HOSTILE, lambda _: HOSTILE)))
    result = svg(HOSTILE, 10, *parts)
    assert "<script" not in result
    assert ElementTree.fromstring(result).get("aria-label") == HOSTILE


@pytest.mark.parametrize("shape", ["circle", *CORNERS])
def test_a_mark_surrounds_its_place(shape):
    result = marker(100, 50, ModelStyle("#000", "", shape))
    assert "nan" not in result and ElementTree.fromstring(result).get("d", "").startswith("M")


def test_models_differ_without_colour():
    drawn = [(style.dash, style.shape) for style in STYLES.values()]
    assert len({dash for dash, _ in drawn}) == len(drawn)
    assert style_of("some model of ours") == style_of("some model of ours")


def test_undefined_points_are_left_out():
    line = {"share": [0.0, 0.5, 1.0], "macro": [0.0, None, 1.0]}
    empty = {"share": [0.0, 0.5, 1.0], "macro": [None, None, None]}
    drawn = [
        revenue_curves({"network": line, HOSTILE: empty}, NAMED, 0.1),
        reliability({"network": [{"predicted": 0.1, "observed": 0.0}], HOSTILE: []}, NAMED),
        expected_and_realised([{"offer": HOSTILE, "expected_revenue": 3.0, "revenue": 4.0}]),
        expected_and_realised([{"offer": "unsold", "expected_revenue": None, "revenue": 0.0}]),
        dot_rows(
            [DotRow(HOSTILE, {"network": {"value": None}, HOSTILE: {"value": 0.5}})],
            NAMED,
            FORMATS["auc"],
            "",
            False,
        ),
        dot_rows([DotRow("a", {"network": {"value": None}})], NAMED, FORMATS["auc"], "", True),
    ]
    for result in drawn:
        assert "nan" not in result and "inf" not in result and "<script" not in result
        assert all(-1 <= number <= WIDTH for number in numbers(result))


def test_intervals_lie_on_the_scale_of_their_points():
    cell = {"value": 0.01, "low": -0.02, "high": 0.03}
    result = dot_rows([DotRow("a", {"network": cell})], {"network": "Network"}, FORMATS["revenue_capture"], "", True)
    assert "+1.0\u00a0points [−2.0, +3.0]" in result
    bar = ElementTree.fromstring(result).find("line[@stroke-width='2']")
    assert bar is not None and float(bar.get("x1", 0)) < float(bar.get("x2", 0))


@given(NUMBER, st.integers(0, 4))
def test_a_written_number_is_the_number(value, digits):
    for text in (decimal(value, digits), decimal(value, digits, signed=True)):
        assert abs(float(text.replace(",", "").replace("−", "-")) - value) <= 0.5000001 * 10**-digits
        assert not re.fullmatch(r"[-−+]0?\.?0*", text)
