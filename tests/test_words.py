"""Source, settings, pages and docs use the terms of docs/glossary.md: a retired word fails with its replacement."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SCANNED = (
    "src/**/*.py",
    "src/**/*.j2",
    "conf/**/*.yaml",
    "README.md",
    "CONTRIBUTING.md",
    "docs/**/*.md",
    "experiments/*.md",
)
EXEMPT = ("docs/glossary.md",)  # it says which words are retired
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # the words of prose, of snake_case and of CamelCase

EXPERTS = (
    "src/propensity/model/",
    "src/propensity/serving/",
    "conf/model/",
    "README.md",
    "CONTRIBUTING.md",
    "docs/architecture.md",
)

WORDS = {  # the plural in -s is retired too
    "incumbent": "baseline",
    "rival": "baseline",
    "occasion": "cutoff, or CutoffData",
    "unbought": "never-bought, or negative_rate",
    "snapshot": "market statistics, or MarketStats",
    "yardstick": "EvalContext",
    "contest": "headline",
    "duel": "heuristics comparison",
    "remark": "warning",
    "habit": "repeat",
    "taste": "explore",
    "trail": "rolling_customer or rolling_pair",
    "spill": "external_partition",
    "shopper": "customer",
    "receipt": "transaction",
    "customs": "heuristics",
    "desk": "Workspace, or online",
    "splice": "sort",
    "tally": "accumulate",
}
ONLY_IN = {  # words that are retired in some places and plain English elsewhere
    "habit": EXPERTS,
    "taste": EXPERTS,
    "receipt": ("src/propensity/simulate/",),
    "shopper": ("src/propensity/simulate/", "conf/", "docs/", "README.md", "CONTRIBUTING.md"),
    "splice": ("src/propensity/kernel/",),
    "tally": ("src/propensity/kernel/",),
}
CLASSES = "Answer|Course|Evidence|ExampleLoader|Fit|Hidden|HistoryDropout|Member|Preparation|Truth|Yardstick"

PHRASES = {  # regular expression, without regard to case unless it says (?-i: ...)
    r"send[ _-](dates?|days?)\b": "cutoff",
    r"\bcustom's\b|\b(greedy|the|this|that) custom\b(?! \w)": "heuristic",
    r"of the possible\b|\bpossible revenue": "normalised revenue capture @10 %",
    r"\brevenue caught\b|caught by (the best|a tenth)": "revenue capture @10 %",
    r"\btimes random\b|\brev lift\b|multiples of a random mailing": "revenue lift @10 %",
    r"would have been seen|smallest (difference|that)\b.{0,20}\bseen\b": "minimum detectable effect (MDE)",
    r"drawn again|drawing (the )?customers again|draws of (the )?customers": "paired bootstrap over customers",
    r"amounts? capped": "winsorised",
    r"\| never bought \||offers? never bought\b|neither a past nor a purchase": "never-bought",
    r"as many as it likes": "torch's default",
    r"\bone voice\b|\b(their|its) like\b": "what is meant, in plain words",
    r"history dropout|\bdata[./]dropout\b": "history mask, data/history_mask",
    rf"(?-i:\bclass ({CLASSES})\b|`({CLASSES})`|\bFit\()": "the name in docs/glossary.md",
    r"\btraining\.average\b|\bema_decay\b": "training.averaging",
    r"\bvalidation_customers=": "training.validation_pairs",
    r"\btraining\.pairs\b": "training.pairs_per_batch",
    r"\bbucketed[=:]|\btraining\.bucketed\b": "training.length_bucketing",
    r"\bresident[=:]|\btraining\.resident\b": "training.log_on_device",
}


class Hit(NamedTuple):
    """A retired word: where it stands (path:line), the word and what to say instead."""

    place: str
    word: str
    replacement: str


def retired(text: str, path: str) -> Iterator[tuple[str, str]]:
    """The retired words of a line with their replacements."""
    for word in map(str.lower, WORD.findall(text)):
        singular = word if word in WORDS else word.removesuffix("s")
        if singular in WORDS and path.startswith(ONLY_IN.get(singular, "")):
            yield word, WORDS[singular]
    for pattern, replacement in PHRASES.items():
        for match in re.finditer(pattern, text, re.IGNORECASE):
            yield match.group(), replacement


def hits(root: Path, path: Path) -> Iterator[Hit]:
    """The retired words of a file and of its name (line 0); README.md may explain a cutoff as a send date once."""
    name = path.relative_to(root).as_posix()
    explained = name != "README.md"
    for number, line in enumerate([name, *path.read_text().splitlines()]):
        for word, replacement in retired(line, name):
            if not explained and re.fullmatch(r"send dates?", word, re.IGNORECASE):
                explained = True
                continue
            yield Hit(f"{name}:{number}", word, replacement)


def scanned(root: Path) -> list[Path]:
    files = {path for pattern in SCANNED for path in root.glob(pattern)}
    return sorted(path for path in files if path.relative_to(root).as_posix() not in EXEMPT)


def test_no_retired_word_is_left(repository: Path) -> None:
    found = [hit for path in scanned(repository) for hit in hits(repository, path)]
    lines = [f"{hit.place}: {hit.word!r}, say {hit.replacement}" for hit in found]
    assert not lines, "\n".join(["retired words:", *lines])


def test_every_pattern_names_files(repository: Path) -> None:
    assert all(any(repository.glob(pattern)) for pattern in SCANNED)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("the strongest incumbent", "incumbent"),
        ("for occasion in occasions:", "occasion"),
        ("taste_BM = state_BD @ offer_MD.T", "taste"),
        ("class MarketSnapshot:", "snapshot"),
        ("self.pair_trail(events)", "trail"),
        ("at each send date", "send date"),
        ("send_dates = []", "send_dates"),
        ("| of the possible |", "of the possible"),
        ("propensity train data/dropout=launch", "data/dropout"),
        ("training.resident=true", "training.resident"),
        ("it beats the customs", "customs"),
        ("fit = Fit(optimizer)", "Fit("),
        ("a loss of 0.04 would have been seen", "would have been seen"),
    ],
)
def test_a_retired_word_is_found_in_prose_and_in_names(line: str, word: str) -> None:
    assert word in {match for match, _ in retired(line, "src/propensity/model/member.py")}


@pytest.mark.parametrize(
    "line",
    [
        "trailing windows at twelve cutoffs",
        "a custom encoder of your own",
        "model.fit(x, y); RandomisedFit; fit(model)",
        "customers of the best segment",
        "occasionally",
        "dropout: 0.1",
        "the receipt column of a raw table",
        "known after preparation",
        "a shop's habit, its customers' taste",
    ],
)
def test_an_ordinary_word_is_not_found(line: str) -> None:
    assert not list(retired(line, "docs/data.md"))


def test_no_replacement_is_itself_retired() -> None:
    replacements = [*WORDS.values(), *PHRASES.values()]
    assert not [text for text in replacements for place in (*EXPERTS, "src/propensity/") if list(retired(text, place))]


def test_readme_may_explain_a_cutoff_once(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("A cutoff is a send date.\nEach send date has labels.\n")
    assert [hit.place for hit in hits(tmp_path, tmp_path / "README.md")] == ["README.md:2"]
