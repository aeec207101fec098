"""Texts of a batch are computed once for each distinct value, with the results of computing each row."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from propensity.ingest.rule import number
from propensity.ingest.rule.distinct import by_distinct

amounts = st.text("0123456789.,+-", max_size=7) | st.text("0123456789.,+-eE()R$€% \t\nx–", max_size=7) | st.none()
batches = st.lists(amounts, max_size=30).flatmap(lambda each: st.permutations(each * 3))


def computed_rows(build: Callable[[pl.Expr], pl.Expr], texts: list[str | None]) -> list[object]:
    return pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)}).select(build(pl.col("text"))).to_series().to_list()


@settings(max_examples=60, deadline=None)
@given(texts=batches)
def test_amounts_without_signs_take_a_short_way_to_the_same_text_and_currency(texts: list[str | None]) -> None:
    assert computed_rows(number.bare_number, texts) == computed_rows(number._without_signs, texts)
    assert computed_rows(number.currency_of, texts) == computed_rows(number._currency, texts)


@settings(max_examples=60, deadline=None)
@given(texts=batches, decimal=st.sampled_from([",", ".", None]))
def test_repeated_amounts_are_read_like_single_ones(texts: list[str | None], decimal: str | None) -> None:
    def plain(text: pl.Expr) -> pl.Expr:
        return number._number(text, decimal)

    assert computed_rows(lambda text: by_distinct(text, plain, pl.Float64()), texts) == computed_rows(plain, texts)
