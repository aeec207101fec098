"""Laws of the text of offers: vectors that come from words and n-grams of their items alone."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog
from propensity.data.item_text import FEATURES, RANK, TextModel, documents, fit_text, parts_of, text_weights
from propensity.data.offer import Offers, build_offers
from propensity.data.offer.column import ColumnOffers
from propensity.data.vocabulary import Vocabulary
from propensity.errors import ConfigurationError, DataError
from propensity.feature.features import FeatureConfig, Features
from propensity.feature.market_stats import MarketStatsBuilder, MarketStatsConfig
from propensity.feature.new_offer import NewOfferFeatures
from propensity.feature.new_offer_stats import NewOfferStatsBuilder
from propensity.kernel.event import PURCHASE
from propensity.serving.inputs import rebuild_inputs
from propensity.serving.point_in_time import PointInTimeFeatures, cutoff_tables, feature_settings
from propensity.task import CutoffData
from random_log import columns, random_log, random_offers, with_another_future

FRUIT = ["red apple", "green apples", "apple juice", "orange juice", "blood orange", "orange", "pear", "canned pears"]
TOOLS = [
    "claw hammer",
    "sledge hammer",
    "hammer drill",
    "power drill",
    "drill bit",
    "wood saw",
    "hand saw",
    "saw blade",
]
ITEMS = pl.DataFrame({"item": range(16), "name": [*FRUIT, *TOOLS], "shelf": ["food"] * 8 + ["tools"] * 8})
CONFIG = FeatureConfig(history=8, text=("title",))
OWN = ["text_short", "text_long", "text_follow"]


def each_alone(items: pl.DataFrame) -> Offers:
    """An offer for each item."""
    rows = np.arange(items.height)
    return build_offers(tuple(map(str, rows)), rows, rows, items.height)


def fitted(names: Sequence[str | int | None] | pl.DataFrame) -> TextModel:
    items = names if isinstance(names, pl.DataFrame) else pl.DataFrame({"name": names})
    return fit_text(items, ["name"], each_alone(items))


def vectors(names: Sequence[str | int | None], model: TextModel | None = None) -> np.ndarray:
    items = pl.DataFrame({"name": names})
    return (fitted(ITEMS) if model is None else model).vectors(items, each_alone(items))


def test_a_text_is_nearest_to_those_that_share_words_or_parts_of_words():
    known = vectors([*FRUIT, *TOOLS])
    query = vectors(["APPLE", "oranges", "hammers", "drilling machine"])
    near = (query @ known.T).argmax(axis=1)
    words = ["apple", "orange", "hammer", "drill"]
    assert all(word in [*FRUIT, *TOOLS][k] for word, k in zip(words, near, strict=True))
    lengths = np.linalg.norm(np.concatenate([known, query]), axis=1)
    np.testing.assert_allclose(lengths, 1.0, rtol=1e-5)


def test_a_document_counts_parts_of_distinct_texts_with_a_sign_and_a_logarithm():
    items = pl.DataFrame({"name": ["pear", "pear", "red apple", "an apple", None, "saw"]})
    offers = build_offers(("fruit", "none", "tools"), np.arange(6), np.array([0, 0, 0, 0, 1, 2]), 6)
    number = np.zeros((3, FEATURES))
    for k, texts in enumerate((["pear", "red apple", "an apple"], [], ["saw"])):
        for part in (part for text in texts for part in parts_of(text)):
            code = zlib.crc32(part.encode())
            number[k, code % FEATURES] += 1 if code >= 2**31 else -1
    want = np.sign(number) * np.where(number != 0, 1 + np.log(np.maximum(np.abs(number), 1)), 0)
    (document,) = documents(items, ["name"], offers)
    np.testing.assert_allclose(document, want, rtol=1e-6)
    assert not document[1].any() and (np.abs(document[0]) > 1).any()
    assert list(documents(items, ["name"], offers.take(np.arange(0)))) == []


def test_a_text_in_no_language_has_a_defined_vector():
    """Nothing to read is 0; digits, signs and emoji are words."""
    found = vectors([None, "", "  ", "\t\n", "🍎🍎", "4711", "?!", "苹果", "a" * 10_000])
    assert found.shape == (9, RANK) and np.isfinite(found).all() and not found[:4].any()
    for empty in ([None, None], ["", " "], ["🍎", "🍎"], ["7", "8"]):
        model = fitted(pl.DataFrame({"name": pl.Series(empty, dtype=pl.String)}))
        assert np.isfinite(model.matrix).all() and np.isfinite(vectors(["🍎", None, "pear"], model)).all()
    codes = fitted([100101, 100102, 590507, 590508])
    near = vectors([100101, 100102, 590507], codes)
    assert near[0] @ near[1] > near[0] @ near[2]
    assert sorted(parts_of("🍎")) == ["^🍎$"] and list(parts_of(" ")) == []


def test_case_width_the_order_of_items_and_items_of_the_same_text_do_not_matter():
    model = fitted(ITEMS)
    other = vectors(["Red APPLE", "ｒｅｄ apple"], model)
    np.testing.assert_allclose(other, vectors(["red apple"] * 2, model), rtol=1e-5, atol=1e-6)
    twice = pl.concat([ITEMS, ITEMS])
    offers = build_offers(tuple(map(str, range(16))), np.arange(32), np.tile(np.arange(16), 2), 32)
    assert fit_text(twice, ["name"], offers) == model
    backwards = build_offers(tuple(map(str, range(16))), np.arange(16), np.arange(16)[::-1], 16)
    assert fit_text(ITEMS[::-1], ["name"], backwards) == model


def test_a_column_that_items_do_not_have_is_a_configuration_error_and_later_it_has_no_text():
    with pytest.raises(ConfigurationError, match="items have no column 'nam'; .* such as 'name'"):
        fit_text(ITEMS, ["nam"], each_alone(ITEMS))
    assert not fitted(ITEMS).vectors(ITEMS.select("item"), each_alone(ITEMS)).any()


def test_offers_of_similar_text_speak_for_an_offer_and_weights_sum_to_one():
    known = vectors([*FRUIT, *TOOLS])
    place = fitted(ITEMS).vectors(ITEMS, ColumnOffers("shelf").all(shop()))
    np.testing.assert_allclose(np.linalg.norm(place, axis=1), 1.0, rtol=1e-5)
    assert (place @ known[:8].T).mean(axis=1).argmax() == 0 and (place @ known[8:].T).mean(axis=1).argmax() == 1
    weights = text_weights(known, known, ~np.eye(16, dtype=bool))
    np.testing.assert_allclose(weights.sum(axis=0), 1.0, rtol=1e-5)
    assert weights[8:, :8].sum() < weights[:8, :8].sum() and not weights.diagonal().any()
    assert not text_weights(known, np.zeros((1, RANK), np.float32), np.ones((16, 1), bool)).any()


def test_a_model_of_an_earlier_format_is_refused():
    state = Vocabulary((), {}, {}, (), text=fitted(ITEMS)).state()
    assert Vocabulary.from_state(state).text == fitted(ITEMS)
    state["text"] = {"columns": ["name"], "weight": state["text"]["directions"]}
    with pytest.raises(DataError, match="the text model of this run is of an earlier format, .*; train again"):
        Vocabulary.from_state(state)


def shop() -> EventLog:
    return replace(random_log(1, customers=10, items=16), items=ITEMS)


def titled(seed: int = 1, customers: int = 30) -> EventLog:
    log = random_log(seed, customers=customers)
    names = [*FRUIT, *TOOLS][: log.items.height]
    return replace(log, items=log.items.with_columns(title=pl.Series(names)))


def of(log: EventLog, config: FeatureConfig = CONFIG):
    offers, day = random_offers(1, log.items.height), log.first_day + 300
    text = fit_text(log.items, config.used_text or ["title"], offers)
    vocabulary = Vocabulary(offers.name, {}, {}, ("app", "store"), text=text)
    vocabulary = vocabulary if config.used_text else replace(vocabulary, text=None)
    settings = MarketStatsConfig(neighbour_categories=2, references=2)
    builder = MarketStatsBuilder(log, offers, 14, settings, *config.market_groups)
    return Features(log, offers, vocabulary, config), builder, builder.at(Cutoff(day, 14))


def own(inputs) -> np.ndarray:
    return np.asarray(inputs.pair)[..., [CONFIG.pair.index(name) for name in OWN]]


def test_text_columns_are_means_over_other_offers_and_vectors_are_attributes_of_the_offer():
    log = titled()
    features, _, stats = of(log)
    inputs = features.inputs(stats, np.arange(len(log)))
    decayed = np.asarray(inputs.pair)[..., [CONFIG.pair.index(f"decayed_{days}") for days in (30, 90)]]
    for k in range(2):
        want = np.log1p(decayed[..., k]) @ features.text_weight
        np.testing.assert_allclose(own(inputs)[..., k], want, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(inputs.attribute)[:, -RANK:], features.text)
    assert CONFIG.sizes(features.vocabulary).attributes == features.attribute.shape[1]
    assert np.diagonal(features.text_weight).max() == 0 and not features.text[-1].any()  # without an item


def test_text_columns_have_no_future_and_no_company():
    log = titled()
    features, _, stats = of(log)
    have, mixed = own(features.inputs(stats, np.arange(len(log)))), np.random.default_rng(1).permutation(len(log))
    np.testing.assert_array_equal(own(features.inputs(stats, mixed)), have[mixed])
    other = with_another_future(log, stats.cutoff.day, np.random.default_rng(1), ("item", "kind", "quantity"))
    other = replace(other, order=np.where(other.kind == PURCHASE, np.maximum(other.order, 0), -1))
    features, _, stats = of(other)
    np.testing.assert_array_equal(own(features.inputs(stats, np.arange(len(log)))), have)


def test_without_text_nothing_changes():
    log = titled()
    features, _, stats = of(log)
    plain, _, plain_stats = of(log, replace(CONFIG, text=()))
    one, other = (each.inputs(at, np.arange(len(log))) for each, at in ((plain, plain_stats), (features, stats)))
    assert CONFIG.pair == (*plain.config.pair, *OWN) and replace(CONFIG, groups=("expect",)).used_text == ()
    np.testing.assert_array_equal(other.pair[..., : -len(OWN)], one.pair)
    np.testing.assert_array_equal(other.attribute[:, :-RANK], one.attribute)


def test_a_bundle_its_definition_and_an_offer_given_anew_have_the_same_text_columns():
    log = titled()
    features, builder, stats = of(log)
    rows = np.arange(len(log))
    have = own(features.inputs(stats, rows))
    settings = json.loads(json.dumps(feature_settings(CONFIG, features.vocabulary, 14)))
    tables = cutoff_tables(CutoffData(features, stats, rows))
    vocabulary = Vocabulary.from_state(json.loads(json.dumps(features.vocabulary.state())))
    assert vocabulary == features.vocabulary
    bundled = PointInTimeFeatures(tables, settings, vocabulary).from_events(log.events)
    np.testing.assert_array_equal(own(bundled), have)
    np.testing.assert_array_equal(bundled.attribute, features.attribute)
    index = [CONFIG.pair.index(name) for name in OWN]
    plain = rebuild_inputs(columns(log), settings, tables, ())["pair"][..., index]
    np.testing.assert_allclose(plain, have, rtol=2e-5, atol=2e-5)
    new = NewOfferStatsBuilder(builder, features.offers).at(stats)
    again = NewOfferFeatures(features, stats, features.offers, new, features.offer_code)
    alone = np.flatnonzero((~new.others).sum(axis=0) == 1)  # other trained offers are not mostly the same
    same = own(again.inputs(new.market_stats, rows))[:, alone]
    np.testing.assert_allclose(same, have[:, alone], rtol=1e-4, atol=1e-5)


def test_a_vocabulary_learns_the_text_of_items_that_were_sold():
    log = titled()
    day = log.first_day + 300
    vocabulary = Vocabulary.fit(log, ColumnOffers("brand", min_buyers=0), day, ("title",))
    sold = np.zeros(log.items.height, bool)
    sold[log.item[(log.day < day) & (log.item >= 0)]] = True
    offers = ColumnOffers("brand").all(log)
    kept = sold[offers.item]
    offers = build_offers(offers.name, offers.item[kept], offers.item_offer[kept], sold.size)
    assert vocabulary.text == fit_text(log.items, ["title"], offers) and not sold.all()
    assert Vocabulary.fit(log, ColumnOffers("brand", min_buyers=0), day).text is None
