"""Learning curves are drawn as far as a run kept them, and a drawing stands in a file of its own."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from propensity.report.curve import dots, learning_curves, save_curves, standalone
from propensity.training.curve import Curve

CURVES = {
    name: Curve(name, [9, 19, 29], [0.5, 0.4, 0.3])
    for name in ("train/loss_step", "train/loss_epoch", "val/loss", "val/auc", "val/never_bought/auc", "lr-AdamW")
}


def lines(svg: str) -> int:
    return svg.count("<polyline")


def test_every_curve_that_is_there_is_a_line() -> None:
    assert lines(str(learning_curves(CURVES))) == 5
    assert lines(str(learning_curves({"train/loss_step": CURVES["train/loss_step"]}))) == 1
    assert "never-bought pairs" in str(learning_curves(CURVES))


def test_a_run_without_curves_has_no_drawing(tmp_path: Path) -> None:
    assert learning_curves({}) is None and learning_curves({"lr-AdamW": CURVES["lr-AdamW"]}) is None
    assert save_curves(tmp_path) is None and not list(tmp_path.iterdir())


def test_a_drawing_in_a_file_is_whole_and_needs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log/metrics.csv").write_text("epoch,step,train/loss_step,val/auc\n0,9,0.5,\n0,19,0.4,0.7\n1,29,,0.8\n")
    assert save_curves(tmp_path) == tmp_path / "curves.svg"
    root = ElementTree.parse(tmp_path / "curves.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert float(root.attrib["width"]) / float(root.attrib["height"]) == 520 / 532
    assert not {"href", "src"} & {name for each in root.iter() for name in each.attrib}


def test_a_label_of_a_job_is_text() -> None:
    svg = standalone(dots([("a<b", 0.2), ("c&d", 0.1)], "val/auc"))
    texts = [each.text for each in ElementTree.fromstring(svg).iter() if each.tag.endswith("text")]
    assert {"a<b", "c&d", "val/auc"} <= set(texts)
