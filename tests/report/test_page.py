"""The page: it stands alone, says what the metrics say, and is whole or not there."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from propensity.metric.decay import lift_decay
from propensity.metric.evaluation import Labels, Prediction, evaluate
from propensity.metric.heuristic import HeuristicAudience, compare_heuristics
from propensity.metric.interval import resample_weights
from propensity.metric.slice import CELLS, partition, slices
from propensity.report.number import shown_metrics
from propensity.report.page import page, write_page
from propensity.report.partition import totals
from propensity.report.verdict import NAMES, baseline_of, baselines_of, name_of, verdict_line, verdict_of

HOSTILE = '</td><script src="http://evil.example/x.js">alert("1")</script>'
BASELINES = ("popularity", "frequency", "logistic", "lightgbm")
RUN = {
    "config": {"data": {"horizon": 14}, "out": "runs/<b>demo</b>", "seed": 17},
    "cutoffs": ["2023-12-04", "2023-12-11"],
    "data": "c0ffee",
    "end": "2024-01-01",
    "examples": 1234,
    "commit": "abc1234",
    "libraries": {"numpy": "2.0"},
    "horizon": 14,
    "rows": {"in": 1000, "used": 990, "dropped": {"quantity not above zero": 10}},
}
VOID = {"meta", "wbr", "line", "path", "polyline", "br"}


class Reader(HTMLParser):
    """Checks that what is opened is closed, and keeps attributes and words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def market(seed: int, cutoff: str, customers: int = 120, offers: int = 6):
    random = np.random.default_rng(seed)
    chance = random.beta(1.0, 4.0, (customers, offers))
    bought = random.random((customers, offers)) < chance
    revenue = np.where(bought, np.round(random.gamma(2.0, 4.0, chance.shape), 2), 0.0)
    ids = np.arange(customers)
    masks = slices(chance > 0.1, chance > 0.2, ids % 5 > 0, random.integers(1, 30, customers), ids)
    light = masks["light"][:, 0]
    masks |= partition(20 * (ids % 9), ids % 5 > 0, light, chance > 0.1, chance > 0.2, np.full(offers, 400.0))
    names = np.array([HOSTILE, *(f"offer {m}" for m in range(1, offers))])
    return Labels(cutoff, ids, names, bought, revenue, masks), Prediction(chance, 8 * chance)


def evaluated(
    baselines: tuple[str, ...] = BASELINES, resamples: int = 30, days: int = 2, same: bool = False
) -> dict[str, Any]:
    """The network knows the truth; each baseline guesses, or with `same` answers like it."""
    markets = [market(seed, f"2024-0{seed + 1}-08") for seed in range(days)]
    result, random = {"network": [ours for _, ours in markets]}, np.random.default_rng(99)
    for place, name in enumerate(baselines):
        guess = np.random.default_rng(place)
        result[name] = [ours if same else Prediction(guess.permuted(ours.probability)) for ours in result["network"]]
    all_labels = [labels for labels, _ in markets]
    metrics = evaluate(all_labels, result, reference="network", resamples=resamples)
    weights = resample_weights([labels.customer for labels in all_labels], resamples, 1)
    blind = [HeuristicAudience(random.random(labels.revenue.shape), np.full(6, 120)) for labels in all_labels]
    values = [prediction.value for prediction in result["network"]]
    metrics["heuristics"] = {"rule": compare_heuristics(all_labels, values, blind, weights)}
    aged = {0: result["network"], 4: [Prediction(random.permuted(each.probability)) for each in result["network"]]}
    metrics["decay"] = lift_decay(all_labels, aged, resamples, 1) | {"about": {"data": "c0ffee", "commit": "abc1234"}}
    return json.loads(json.dumps(metrics | {"run": RUN}))


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    return evaluated()


def headline(metrics: dict[str, Any]) -> str:
    return verdict_of(metrics, shown_metrics(metrics)).headline


def with_difference(metrics: dict[str, Any], metric: str, low: float, high: float, word: str | None) -> dict[str, Any]:
    changed = copy.deepcopy(metrics)
    cell = {"value": (low + high) / 2, "low": low, "high": high, "verdict": word}
    changed["differences"][baseline_of(metrics)]["mean"]["all"][metric] = cell
    return changed


def without_values(node: Any) -> Any:
    """The same metrics, with every value undefined."""
    if isinstance(node, dict) and "value" in node:
        gone = {"value": None, "low": None, "high": None, "reason": "no revenue at all"}
        return gone | ({"verdict": None} if "verdict" in node else {})
    return {key: without_values(value) for key, value in node.items()} if isinstance(node, dict) else node


def test_the_page_is_well_formed_and_stands_alone(metrics):
    read = Reader(page(metrics))
    assert read.open == []
    outward = [value for _, name, value in read.attributes if name in {"src", "href", "srcset", "action", "data"}]
    assert outward == []
    assert not {tag for tag, _, _ in read.attributes} & {"script", "link", "iframe", "img", "object"}
    assert "url(" not in page(metrics) and "@import" not in page(metrics)


def test_an_offer_is_a_name_and_never_markup(metrics):
    result = page(metrics)
    assert "<script" not in result and "<b>demo" not in result
    assert "".join(Reader(result).words).count(HOSTILE) >= 1


def test_every_model_slice_date_and_row_is_named(metrics):
    text = Reader(page(metrics)).text
    for name in (
        *(NAMES[model] for model in metrics["models"]),
        "never-bought",
        "lapsed",
        "repeat",
        "dormant",
        "light",
    ):
        assert name in text
    for word in (*metrics["counts"], "c0ffee", "abc1234", "numpy 2.0", "data.horizon=14", "quantity not above zero"):
        assert word in text


def test_the_cells_of_the_partition_add_up_to_the_whole(metrics):
    whole = {key: sum(totals(metrics, cell)[key] for cell in CELLS) for key in ("pairs", "positives", "revenue")}
    assert whole == pytest.approx(totals(metrics, "all"))
    assert "12 of 24 cells hold no pair" in Reader(page(metrics)).text
    assert Reader(page(metrics)).text.count("regular / repeat") >= 1


def test_expected_and_observed_are_counted_by_slice_and_cutoff(metrics):
    table = metrics["calibration"]["network"]
    for parts in ([table["slices"][cell] for cell in CELLS], list(table["dates"].values())):
        for key in ("pairs", "buyers", "revenue", "expected_buyers", "expected_revenue"):
            assert sum(part[key] for part in parts) == pytest.approx(table[key])
    text = Reader(page(metrics)).text
    assert "Expected and observed by slice" in text and "Expected and observed by cutoff" in text


def test_heuristics_and_lift_decay_are_shown_where_they_were_measured(metrics):
    text, comparison = Reader(page(metrics)).text, metrics["heuristics"]["rule"]
    assert "Heuristics comparison" in text and f"{comparison['difference']['value']:+,.0f}" in text
    assert "Lift decay" in text and metrics["decay"]["sentence"][1:] in text
    bare = {key: value for key, value in metrics.items() if key not in ("heuristics", "decay", "warnings", "headline")}
    text = Reader(page(bare)).text
    assert "Heuristics comparison" not in text and "Lift decay" not in text and "no verdict" in text


def test_the_headline_repeats_the_verdicts(metrics):
    baseline = name_of(str(baseline_of(metrics)))
    win, loss, tie = (0.01, 0.03, "win"), (-0.03, -0.01, "loss"), (-0.02, 0.03, "tie")
    phrases = {"win": f"wins against {baseline}", "loss": f"loses to {baseline}", "tie": f"ties with {baseline}"}
    for revenue in (win, loss, tie):
        for ranking in (win, loss, tie):
            changed = with_difference(with_difference(metrics, "revenue_capture", *revenue), "auc", *ranking)
            words = headline(changed)
            assert phrases[revenue[2]] in words and phrases[ranking[2]] in words
            assert all((phrase in words) == (word in (revenue[2], ranking[2])) for word, phrase in phrases.items())
            assert words in Reader(page(changed)).text


def test_the_first_line_is_the_verdict_with_its_interval(metrics):
    cell, line = metrics["headline"], verdict_line(metrics)
    interval = f"[{cell['low']:+.3f}, {cell['high']:+.3f}]".replace("-", "−")
    value = f"revenue lift @10 % {cell['value']:+.3f} {interval}"
    assert line.startswith(f"win against {name_of(cell['baseline'])}: {value}; winsorised ")
    first = re.search(r"<body>\s*<header[^>]*><div>\s*<p[^>]*>([^<]*)</p>", page(metrics))
    assert first is not None and first[1] == line
    assert verdict_line(evaluated(())) == "no verdict: no baseline was evaluated"


def test_equal_models_tie():
    metrics = {k: v for k, v in evaluated(("frequency",), same=True).items() if k not in ("heuristics", "decay")}
    text = Reader(page(metrics)).text
    assert headline(metrics) == "The network ties with Personal frequency on revenue capture and on AUC."
    assert "▲ win" not in text and "▼ loss" not in text
    assert "Better than Personal frequency at 0 of 2 cutoffs on revenue capture" in text


def test_the_baseline_of_the_verdict_has_the_best_revenue_lift():
    rest = evaluated(("popularity", "logistic"))
    lift = {name: rest["models"][name]["mean"]["all"]["revenue_lift"]["value"] for name in ("popularity", "logistic")}
    assert baseline_of(rest) == max(lift, key=lambda name: lift[name]) == baselines_of(rest)[0]


def test_figures_are_those_of_the_metrics(metrics):
    cells, text = metrics["models"]["network"]["mean"]["all"], Reader(page(metrics)).text
    reach = cells["revenue_capture"]
    assert (
        f"hold {100 * reach['value']:.1f} % of its revenue: a revenue lift of {cells['revenue_lift']['value']:.2f}."
        in text
    )
    assert f"{100 * reach['value']:.1f} % [{100 * reach['low']:.1f}, {100 * reach['high']:.1f}]" in text
    assert f"AUC: network {cells['auc']['value']:.4f}" in text
    assert metrics["fraction"] == 0.1


def test_a_network_alone_is_not_compared():
    text = Reader(page(evaluated(()))).text
    assert "No baseline was evaluated" in text and "Normalised revenue capture" in text
    assert "Network minus baseline" not in text


def test_without_resamples_nothing_is_won():
    text = Reader(page(evaluated(("lightgbm",), resamples=0))).text
    assert "no verdict against LightGBM: revenue lift @10 %" in text and "underpowered: there is no interval" in text
    assert "There is no verdict against LightGBM" in text and "no interval, so no verdict" in text
    assert "▲ win" not in text and "None" not in text and "nan" not in text


def test_what_is_undefined_is_a_dash_with_its_reason(metrics):
    for case in (metrics, evaluated((), days=1)):
        empty = copy.deepcopy(case)
        empty["models"], empty["differences"] = without_values(case["models"]), without_values(case["differences"])
        for curve in empty["curves"].values():
            curve["macro"] = [None] * len(curve["macro"])
        for table in empty["calibration"].values():
            table |= {"bins": [], "reason": "scores are no probabilities"}
        for row in (row for rows in empty["offers"].values() for row in rows):
            row |= dict.fromkeys(("expected_buyers", "expected_revenue", "auc", "lift", "revenue_capture"))
        read = Reader(page(empty))
        assert "no revenue at all" in read.text and "scores are no probabilities" in read.text
        assert "–" in read.text and "None" not in read.text and "nan" not in read.text


def test_the_command_that_makes_it_again_is_named(metrics):
    text = Reader(page(metrics)).text
    assert "propensity reproduce run=runs/<b>demo</b> trains again" in text
    rolled = metrics | {"run": {key: value for key, value in RUN.items() if key != "end"}}
    assert "propensity backtest out=runs/<b>demo</b> ... , with the settings below" in Reader(page(rolled)).text


def test_a_short_account_of_the_run_is_enough(metrics):
    run = {key: RUN[key] for key in ("config", "cutoffs", "data", "horizon", "rows")}
    assert "once for each cutoff" in Reader(page(metrics | {"run": run})).text
    bare = {key: value for key, value in metrics.items() if key != "run"}
    assert Reader(page(bare)).open == []


def test_every_warning_is_shown_once_on_the_page(metrics):
    warnings = ["only 60 steps", *(f"warning number {n}" for n in range(9))]
    text = Reader(page(metrics | {"warnings": warnings})).text
    assert all(text.count(warning) == 1 for warning in warnings) and "10 warnings" in text and "4 more" in text
    assert "warnings" not in Reader(page(metrics | {"warnings": []})).text.split("All models")[0]


def test_expected_over_observed_is_shown_by_model_decile_slice_cutoff_and_offer(metrics):
    ours, text = metrics["expected_over_observed"]["network"], Reader(page(metrics)).text
    groups = [ours["revenue"], ours["revenue"]["top"], *ours["revenue"]["deciles"], *ours["purchases"]["deciles"]]
    groups += [*ours["revenue"]["cutoffs"].values(), *ours["revenue"]["offers"].values()]
    groups.append(ours["revenue"]["slices"]["any / repeat / any"])
    for cell in (cell for cell in groups if cell["value"] is not None):
        interval = f"[{cell['low']:.2f}, {cell['high']:.2f}]".replace("-0.00", "0.00").replace("-", "−")
        assert f"{cell['value']:.2f} {interval}" in text
    assert "Expected / observed revenue by decile" in text and "top 5 % of pairs" in text
    older = {key: value for key, value in metrics.items() if key != "expected_over_observed"}
    assert "by decile" not in Reader(page(older)).text


def test_where_nothing_was_spent_the_ratio_of_revenue_is_a_dash_and_purchases_are_drawn():
    labels, ours = market(1, "2024-01-08")
    free = labels._replace(revenue=labels.revenue * 0)
    result = evaluate([free], {"network": [ours]}, reference="network", resamples=20)
    text = Reader(page(json.loads(json.dumps(result)))).text
    assert "nothing was spent" in text and "Expected / observed purchases by decile" in text
    assert "None" not in text and "nan" not in text


def test_amounts_name_their_currency_where_the_log_knows_it(metrics):
    result = page(metrics | {"run": RUN | {"currency": "TWD"}})
    text = Reader(result).text
    for title in ("amounts in TWD", "Revenue (TWD)", "Revenue expected (TWD)", "Its revenue (TWD)"):
        assert title in text
    assert "realised revenue (TWD)" in result
    plain = Reader(page(metrics)).text
    assert plain.count("in the log's currency") == 1 and "(TWD)" not in plain


def with_champion(served: str) -> dict[str, Any]:
    """Metrics of a run whose champion is `served`, as an evaluation with a section champion writes them."""
    markets = [market(seed, f"2024-0{seed + 1}-08") for seed in range(2)]
    models = {"network": [ours for _, ours in markets]}
    for place, name in enumerate(("frequency", "lightgbm", "stack")):
        guess = np.random.default_rng(place)
        models[name] = [Prediction(guess.permuted(ours.probability), ours.revenue) for ours in models["network"]]
    baselines = ["frequency", "lightgbm"]
    result = evaluate([each for each, _ in markets], models, reference=served, baselines=baselines, resamples=20)
    losses = {name: {"log_loss": 0.1 + place / 100, "auc": 0.8} for place, name in enumerate(models)}
    champion = {"name": served, "reason": "its validation log loss is lowest", "candidates": losses}
    return json.loads(json.dumps(result | {"champion": champion, "run": RUN}))


@pytest.mark.parametrize("served", ["network", "stack", "lightgbm"])
def test_the_served_model_is_named_with_its_reason_and_compared_with_a_baseline(served):
    metrics = with_champion(served)
    read = Reader(page(metrics))
    name = {"lightgbm": "LightGBM"}.get(served, served)
    assert read.open == []
    assert f"Served model: {name}, because its validation log loss is lowest." in read.text
    assert ("The network is not served" in read.text) == (served != "network")
    assert "Candidates" in read.text and "0.1100" in read.text
    assert baseline_of(metrics) in ("frequency", "lightgbm") and baseline_of(metrics) != served
    assert headline(metrics).startswith({"lightgbm": "LightGBM"}.get(served, f"The {served}"))
    assert f"{name_of(served)} minus" in read.text


def test_a_run_without_a_champion_names_no_served_model(metrics):
    text = Reader(page(metrics)).text
    assert "Served model" not in text and "Candidates" not in text and "The network wins against" in text


def test_the_file_is_whole_or_not_there(metrics, tmp_path):
    path = tmp_path / "report.html"
    broken = {key: value for key, value in metrics.items() if key != "curves"}
    with pytest.raises(KeyError, match="curves"):
        write_page(broken, path)
    assert list(tmp_path.iterdir()) == []
    write_page(metrics, path)
    assert path.read_text(encoding="utf-8") == page(metrics)
    with pytest.raises(KeyError):
        write_page(broken, path)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text(encoding="utf-8") == page(metrics)
