"""Reasons: groups of columns that mean one thing, and the words that state them for one customer and offer.

A column names its reason in its declaration (`FeatureColumn.reason`). Words are one sentence, with
values of the customer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, get_args

from propensity.kernel.column import Block, ReasonName

ATTRIBUTE = "attribute_"  # what the names of columns of attributes begin with
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
TYPICAL_WINDOW = 91  # days that sentences speak of, if there is such a window
HUGE = 20.0  # log ratio that larger ones count as
SMALL = 0.005  # log ratio below which something is as usual


class PairFacts(NamedTuple):
    """What is known about a customer and an offer at a cutoff.

    Attributes
    ----------
    offer : str
        Name of the offer.
    values : dict of (block, column) to float
        Numbers of the model's inputs.
    raises : bool
        Whether the reason raises the score.
    windows : sequence of int
        Days of the rolling windows, ascending.
    horizon : int
        Days.
    companions : sequence of str
        Other offers that the customer bought and that are often bought together with the offer, the strongest first.
    period : str
        The horizon in words, such as "in the 14 days from 4 December".
    meanings : dict of (block, column) to str
        Names of the attributes of the customer, and meanings of a user's own columns.
    currency : str
        Of amounts; empty if the log does not know it.
    """

    offer: str
    values: Mapping[tuple[Block, str], float]
    raises: bool = True
    windows: Sequence[int] = (28, TYPICAL_WINDOW)
    horizon: int = 14
    companions: Sequence[str] = ()
    period: str = "in the horizon"
    meanings: Mapping[tuple[Block, str], str] = {}
    currency: str = ""

    def get(self, block: Block, name: str) -> float | None:
        """A value; None where it is missing."""
        value = self.values.get((block, name), math.nan)
        return None if math.isnan(value) else float(value)

    def number(self, block: Block, name: str) -> float:
        """A value; 0 where it is missing."""
        return self.get(block, name) or 0.0

    def money(self, amount: float) -> str:
        """An amount with its currency."""
        return f"{amount:,.2f} {self.currency}".rstrip()

    @property
    def window(self) -> int:
        """The window that is nearest to `TYPICAL_WINDOW`."""
        return min(self.windows, key=lambda days: abs(days - TYPICAL_WINDOW))


class ReasonGroup(NamedTuple):
    """A group of columns that mean one thing.

    Attributes
    ----------
    name : str
        As columns declare it.
    title : str
        A few words for tables.
    meaning : str
        What the group holds.
    words : callable
        From `PairFacts` to one sentence.
    """

    name: ReasonName
    title: str
    meaning: str
    words: Callable[[PairFacts], str]


def times(count: float) -> str:
    """A number of times in words.

    Examples
    --------
    >>> times(1), times(2), times(3), times(12)
    ('once', 'twice', 'three times', '12 times')
    """
    number = round(count)
    words = {1: "once", 2: "twice"}
    return words.get(number) or f"{NUMBERS[number] if number < len(NUMBERS) else f'{number:,}'} times"


def counted(count: float, noun: str) -> str:
    """A number and a noun in singular or plural.

    Examples
    --------
    >>> counted(1, "order"), counted(12.4, "day")
    ('one order', '12 days')
    """
    number = round(count)
    return f"{NUMBERS[number] if 0 <= number < len(NUMBERS) else f'{number:,}'} {noun}{'' if number == 1 else 's'}"


def ago(days: float) -> str:
    """How long ago something happened.

    Examples
    --------
    >>> ago(1), ago(12)
    ('yesterday', '12 days ago')
    """
    return "yesterday" if round(days) == 1 else f"{counted(days, 'day')} ago"


def share(value: float) -> str:
    """A share in percent.

    Examples
    --------
    >>> share(0.123), share(0.004), share(0), share(1)
    ('12 %', '0.4 %', '0 %', '100 %')
    """
    percent = 100 * value
    return f"{percent:.0f} %" if percent >= 1 or percent < 0.05 else f"{percent:.1f} %"


def more(log_ratio: float) -> str:
    """A log ratio as a comparison.

    Examples
    --------
    >>> more(0.2), more(-0.2), more(0.001), more(1.2)
    ('22 % more', '18 % less', 'as much', '3.3 times as much')
    """
    ratio = math.exp(min(log_ratio, HUGE))
    if abs(log_ratio) < SMALL:
        return "as much"
    if ratio >= 2:
        return f"{ratio:.1f} times as much"
    return f"{share(abs(ratio - 1))} {'more' if ratio > 1 else 'less'}"


def of_them(part: float, count: float) -> str:
    """A share of a number of things in words.

    Examples
    --------
    >>> of_them(0, 3), of_them(0.5, 4), of_them(1, 3), of_them(1, 1)
    ('none of them', 'two of them', 'each of them', 'it')
    """
    number = round(part * count)
    if number == 0:
        return "none of them" if round(count) > 1 else "none"
    if number >= round(count):
        return "each of them" if round(count) > 1 else "it"
    return f"{NUMBERS[number] if number < len(NUMBERS) else number} of them"


def listed(names: Sequence[str]) -> str:
    """Names as an enumeration.

    Examples
    --------
    >>> listed(["milk"]), listed(["milk", "bread", "eggs"])
    ('milk', 'milk, bread and eggs')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def frequency_words(facts: PairFacts) -> str:
    """How often the offer was bought."""
    total = facts.number("pair", "purchase_days")
    if total < 1:
        views = facts.number("pair", "views")
        return f"Never bought {facts.offer}{f', but viewed it {times(views)} in the last 28 days' if views else ''}."
    recent, window = facts.number("pair", f"days_{facts.window}"), facts.window
    if not recent:
        return f"Bought {facts.offer} {times(total)} in all, but not in the last {window} days."
    in_all = f", {times(total)} in all" if total > recent else ""
    return f"Bought {facts.offer} {times(recent)} in the last {window} days{in_all}."


def recency_words(facts: PairFacts) -> str:
    """How lately it was bought, and when it is due."""
    recency, interval = facts.get("pair", "recency"), facts.get("pair", "interpurchase_time")
    if recency is None:
        return f"There is no earlier purchase of {facts.offer} that tells when the next one is due."
    if interval is None:
        return f"Bought {facts.offer} on one day only, {ago(recency)}."
    every = "every day" if round(interval) == 1 else f"every {counted(interval, 'day')}"
    return f"Last bought {facts.offer} {ago(recency)}, and usually buys it {every}."


def companions_words(facts: PairFacts) -> str:
    """What else was bought."""
    if not facts.companions:
        return f"Bought little or nothing that customers often buy together with {facts.offer}."
    names = listed(facts.companions)
    if facts.raises:
        return f"Bought {names}, which customers often buy together with {facts.offer}."
    return f"Of what customers often buy together with {facts.offer}, bought no more than {names} and the like."


def similar_words(facts: PairFacts) -> str:
    """What customers with similar purchases buy."""
    value = facts.get("pair", "neighbours_middle")
    if value is None:
        return f"Customers with similar tastes buy {facts.offer} {'more' if facts.raises else 'less'} than others."
    window = f"in the last {4 * facts.horizon} days"
    return f"Of the customers with the most similar purchases, {share(value)} bought {facts.offer} {window}."


def popularity_words(facts: PairFacts) -> str:
    """How well the offer sells to everybody."""
    reach = facts.get("context", f"reach_{TYPICAL_WINDOW}")
    if reach is None:
        return f"Nobody has bought {facts.offer} so far."
    return f"Of all customers, {share(math.exp(min(reach, 0)))} bought {facts.offer} in the last {TYPICAL_WINDOW} days."


def price_words(facts: PairFacts) -> str:
    """Prices and discounts."""
    price, paid = facts.get("context", "price"), facts.get("pair", "spend_mean")
    if paid is not None:
        saved = facts.number("pair", "discount_share")
        discount = f", after discounts of {share(saved)}" if saved > SMALL else ""
        usual = "" if price is None else f"; customers spend {facts.money(price)} on average"
        return f"Spends {facts.money(paid)} on {facts.offer} per purchase{discount}{usual}."
    saved = facts.number("customer", "discount_share")
    habit = (
        f"the customer saves {share(saved)} by discounts" if saved > SMALL else "the customer buys without discounts"
    )
    if price is None:
        return f"No price of {facts.offer} is known; {habit}."
    trend = facts.number("context", "price_trend")
    change = "" if abs(trend) < 2 * SMALL else f", lately {more(trend)}"
    return f"Customers spend {facts.money(price)} on {facts.offer} per purchase{change}; {habit}."


def season_words(facts: PairFacts) -> str:
    """The time of the year."""
    last_year = facts.get("context", "last_year")
    if last_year is None:
        direction = "more" if facts.raises else "less"
        return f"{facts.period[0].upper()}{facts.period[1:]}, customers tend to buy {direction} than on average."
    return f"In the same weeks of last year, {facts.offer} sold {more(last_year)} compared with the weeks around them."


def messages_words(facts: PairFacts) -> str:
    """Messages, coupons and views."""
    messages, coupons = facts.number("customer", "messages_182"), facts.number("customer", "redemptions_91")
    views = facts.number("customer", "views_28")
    parts = []
    if messages:
        response = of_them(facts.number("customer", "response"), messages)
        received = f"received {counted(messages, 'message')} in the last 182 days"
        parts.append(f"{received} and bought within a week after {response}")
    if coupons:
        parts.append(f"redeemed coupons {times(coupons)} in the last 91 days")
    if views:
        parts.append(f"viewed {counted(views, 'item')} in the last 28 days")
    text = "; ".join(parts) or "received no message and redeemed no coupon lately"
    return f"{text[0].upper()}{text[1:]}."


def shopping_words(facts: PairFacts) -> str:
    """How the customer shops in general."""
    window, recency = facts.window, facts.get("customer", "recency")
    orders, offers = facts.number("customer", f"orders_{window}"), facts.number("customer", "offers_91")
    if recency is None:
        return "Nothing is known about the customer's purchases."
    if not orders:
        return f"Placed no order in the last {window} days; the latest was {ago(recency)}."
    variety = f" with {counted(offers, 'different offer')}" if offers and window == TYPICAL_WINDOW else ""
    return f"Placed {counted(orders, 'order')}{variety} in the last {window} days, the latest {ago(recency)}."


def named_values(facts: PairFacts, attributes: bool) -> str:
    """Names and values of the attributes, or of a user's own columns."""
    parts = [
        f"{meaning}: {'unknown' if (value := facts.get(*key)) is None else f'{value:,.4g}'}"
        for key, meaning in facts.meanings.items()
        if key[1].startswith(ATTRIBUTE) == attributes
    ]
    return ", ".join(parts)


def person_words(facts: PairFacts) -> str:
    """Whether the customer has a purchase, where customers without one are scored, and attributes."""
    known = named_values(facts, True)
    registrant = facts.get("customer", "registrant")
    if registrant is None:
        return f"Known about the customer: {known or 'nothing'}."
    if registrant <= 0:
        return f"Has bought before{f'; {known}' if known else ''}."
    age, views = facts.get("customer", "registrant_age"), facts.number("customer", "registrant_views_91")
    parts = ["Has not bought anything yet" if age is None else f"Registered {ago(age)} and has not bought anything yet"]
    if round(views) > 0:
        parts.append(f"viewed {counted(views, 'item')} in the last 91 days")
    return f"{'; '.join([*parts, known] if known else parts)}."


def own_words(facts: PairFacts) -> str:
    """Columns of the user's own."""
    return f"Columns of your own: {named_values(facts, False) or 'no value'}."


REASONS: dict[ReasonName, ReasonGroup] = {
    group.name: group
    for group in (
        ReasonGroup("frequency", "How often", "purchases of the offer: days, units, shares", frequency_words),
        ReasonGroup("recency", "How lately", "days since the last purchase, and the usual interval", recency_words),
        ReasonGroup(
            "companions", "What goes with it", "purchases of other offers and of the same parent", companions_words
        ),
        ReasonGroup("similar", "Similar customers", "what customers with similar purchases buy", similar_words),
        ReasonGroup("popularity", "Popularity", "the offer, and how well it sells to everybody", popularity_words),
        ReasonGroup("price", "Price", "prices, amounts per purchase and discounts", price_words),
        ReasonGroup("season", "Season", "the time of the year and of the month", season_words),
        ReasonGroup("messages", "Messages", "messages, coupons and views, and the response to them", messages_words),
        ReasonGroup("shopping", "Shopping in general", "orders, revenue and variety of all offers", shopping_words),
        ReasonGroup("person", "The customer", "attributes of the customer", person_words),
        ReasonGroup("own", "Own columns", "columns of data.feature.extra without another reason", own_words),
    )
}
assert tuple(REASONS) == get_args(ReasonName)
