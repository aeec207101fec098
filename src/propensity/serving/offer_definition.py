"""Offers that are named when scores are asked for: a filter over item columns, or a list of item ids, for each name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from propensity.data.event_log import EventLog, to_date
from propensity.data.offer import Offers, build_offers
from propensity.decision.condition import columns_of, refuse_more_than_comparisons, rows_where
from propensity.errors import ConfigurationError
from propensity.kernel.event import PURCHASE

Definitions = Mapping[str, str | Sequence[Any]]
Say = Callable[[str], None]
EXAMPLE = "private_snacks: \"department = 'SNACKS' and brand = 'Private'\""
LONGEST = 100_000  # characters of a filter
PRICE = "price"  # a column that items have without being delivered


def read_definitions(path: str | Path) -> dict[str, Any]:
    """Read a YAML file of offers.

    Parameters
    ----------
    path : str or Path
        File with a filter, or a list of item ids, for each name.

    Returns
    -------
    dict
        Name to filter or list.

    Raises
    ------
    ConfigurationError
        If there is no such file, it is no YAML, names no offer, or names one twice.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(f"offers={path} cannot be read ({reason}); give a YAML file of offers") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ConfigurationError(f"offers={path} is no YAML ({reason}); write lines such as {EXAMPLE}") from None
    if not isinstance(content, dict) or not content or not isinstance(node, yaml.MappingNode):
        raise ConfigurationError(f"offers={path} names no offer; write lines such as {EXAMPLE}")
    names = [str(key.value) for key, _ in node.value]
    if twice := next((name for name in names if names.count(name) > 1), None) if len({*names}) < len(names) else None:
        raise ConfigurationError(f"offers={path} names {twice!r} twice; give each offer a name of its own")
    return {str(name): definition for name, definition in content.items()}


def named_offers(log: EventLog, definitions: Definitions, day: int, say: Say = lambda text: None) -> Offers:
    """The offers that definitions name, with their items that are known before a day.

    Parameters
    ----------
    log : EventLog
        Log with I items.
    definitions : mapping of str to str or sequence
        Filter or item ids of each of K offers. A filter compares columns of the log's items, and `price`: what a unit
        cost on average before the day, unless the items have a column of that name.
    day : int
        Days since 1970-01-01.
    say : callable
        Receives a warning for each offer with ids that are not in the log.

    Returns
    -------
    Offers
        K offers without parents. An item may belong to several of them, and need not have been sold.

    Raises
    ------
    ConfigurationError
        For a filter that is more than comparisons or names no column of the items, and an offer without a known item.
    """
    if not definitions:
        raise ConfigurationError(f"no offer is named; write one such as {EXAMPLE}")
    items, known = described(log, day), np.flatnonzero(log.item_known < day)
    places = ItemPlaces(log.items["item"])
    members = []
    for name, definition in definitions.items():
        check_name(name)
        chosen = matches(items, name, definition) if isinstance(definition, str) else places.of(name, definition, say)
        members.append(np.intersect1d(chosen, known))
        if not members[-1].size:
            raise ConfigurationError(
                f"no item of offer {name!r} is known before {to_date(day)}; deliver its items to the log, or use a "
                "later cutoff"
            )
    item, offer = np.concatenate(members), np.repeat(np.arange(len(members)), [each.size for each in members])
    order = np.argsort(item, kind="stable")
    return build_offers(tuple(definitions), item[order], offer[order], log.items.height)


def check_name(name: Any) -> None:
    """Refuse what cannot be the name of an offer."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ConfigurationError(f"{name!r} cannot be the name of an offer; give a name in plain text")


def described(log: EventLog, day: int) -> pl.DataFrame:
    """The items with their attributes, and their price as of a day: revenue per unit of the purchases before it."""
    if PRICE in log.items.columns:
        return log.items
    sold = (log.kind == PURCHASE) & (log.item >= 0) & (log.day < day) & (log.quantity > 0)
    totals = [
        np.bincount(log.item[sold], each[sold].astype(np.float64), log.items.height)
        for each in (log.revenue, log.quantity)
    ]
    price = np.divide(totals[0], totals[1], out=np.full(log.items.height, np.nan), where=totals[1] > 0)
    return log.items.with_columns(pl.Series(PRICE, price).fill_nan(None))


def matches(items: pl.DataFrame, name: str, condition: str) -> np.ndarray:
    """Places of the items that fulfil a filter.

    Parameters
    ----------
    items : polars.DataFrame
        I items with their attributes.
    name : str
        Name of the offer.
    condition : str
        Comparisons of columns with values.

    Returns
    -------
    numpy.ndarray of int
        Ascending places; at least one.

    Raises
    ------
    ConfigurationError
        For a filter that is more than comparisons, names an unknown column, or matches nothing.

    Examples
    --------
    >>> matches(pl.DataFrame({"item": [7, 8], "brand": ["Private", None]}), "own", "brand = 'Private'")
    array([0])
    """
    setting = f"the filter of offer {name!r}"
    refuse_more_than_comparisons(condition, setting, LONGEST)
    try:
        unknown = [column for column in columns_of(condition) if column not in items.columns]
    except pl.exceptions.PolarsError:
        unknown = []  # no SQL; the next line says so
    if unknown:
        close = get_close_matches(unknown[0].lower(), [column.lower() for column in items.columns], 1, 0.5)
        hint = next((f"; did you mean {each}?" for each in items.columns if [each.lower()] == close), "; there are")
        hint += "" if close else f" {', '.join(items.columns)}"
        raise ConfigurationError(f"{setting} names {unknown[0]!r}, which is no column of the items{hint}")
    chosen = np.flatnonzero(rows_where(items, condition, setting))
    if not chosen.size:
        raise ConfigurationError(f"{setting}, {condition!r}, matches none of {items.height:,} items; check its values")
    return chosen


class ItemPlaces:
    """Places of items by their ids as text.

    Parameters
    ----------
    ids : polars.Series
        Ids of I items.
    """

    def __init__(self, ids: pl.Series) -> None:
        self.ids, self.place = ids, dict[str, int]()

    def of(self, name: str, listed: Any, say: Say) -> np.ndarray:
        """Places of the items that an offer lists.

        Parameters
        ----------
        name : str
            Name of the offer.
        listed : sequence
            Item ids, as numbers or text.
        say : callable
            Receives a warning if some of them are not in the log.

        Returns
        -------
        numpy.ndarray of int
            At least one place.

        Raises
        ------
        ConfigurationError
            If `listed` is no list of ids, is empty, or holds no id of the log.
        """
        if not isinstance(listed, Sequence | np.ndarray | pl.Series) or isinstance(listed, str | bytes):
            raise ConfigurationError(f"offer {name!r} is {listed!r}; give a filter in quotes, or a list of item ids")
        wanted = list(dict.fromkeys(map(str, listed)))
        if not wanted:
            raise ConfigurationError(f"offer {name!r} lists no item; give item ids, or a filter in quotes")
        if any(isinstance(each, Mapping | list | tuple | bool | type(None)) for each in listed):
            raise ConfigurationError(f"offer {name!r} lists something that is no item id; give ids as numbers or text")
        if not self.place:
            self.place = {each: k for k, each in enumerate(self.ids.cast(pl.String).to_list())}
        missing = [each for each in wanted if each not in self.place]
        if len(missing) == len(wanted):
            raise ConfigurationError(
                f"none of the {len(wanted)} items of offer {name!r} is in the log, such as {missing[0]!r}; give ids of "
                f"the log's items, such as {self.ids[0]!r}"
            )
        if missing:
            say(f"{len(missing)} of {len(wanted)} items of offer {name!r} are not in the log, such as {missing[0]!r}")
        return np.array([self.place[each] for each in wanted if each in self.place])
