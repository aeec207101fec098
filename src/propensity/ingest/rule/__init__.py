"""What is done with data that are not clean: one table of rules, and the modules that carry them out.

`RULES` is the whole list: the documentation prints it, `meta.json` and the quarantine speak its codes, and a test holds
a fixture against each. A row is counted under the first rule it breaks, in the order of this table.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Action = Literal["reject", "quarantine", "drop", "merge", "keep"]


class Rule(NamedTuple):
    """A code, what happens to what breaks it, what that means, and the setting that changes it.

    reject: nothing is prepared, exit code 3, the file and the line are named. quarantine: the row is kept aside, with
    this code and its place in its file. drop: the row is no sale, and is only counted. merge: another row stands for
    it. keep: the row is used, after a repair or as it is, and the table at the end says how many were.
    """

    code: str
    does: Action
    meaning: str
    setting: str = ""


RULES = (
    Rule("file_empty", "reject", "a file of zero bytes"),
    Rule("file_without_rows", "reject", "a header and nothing below it, in every file of the pattern"),
    Rule("file_unreadable", "reject", "a file that is cut short or damaged"),
    Rule("file_not_text", "reject", "a byte 0 in a text file: another format, or a damaged one", "encoding"),
    Rule("day_order_unclear", "reject", "dates such as 03/04/2024 that could be day or month first", "day_format"),
    Rule("day_not_a_date", "reject", "a day column of small numbers or durations: gaps are no dates", "columns.day"),
    Rule("currencies_mixed", "reject", "amounts in several currencies and no rates between them", "rates"),
    Rule("cents_mixed", "reject", "one file's prices are a hundred times another's, for the same items", "scale"),
    Rule("file_twice", "merge", "the same bytes under two names of a pattern; the second stands back"),
    Rule("file_transcoded", "keep", "rows of a text file that is no UTF-8, read as Windows-1252 or UTF-16", "encoding"),
    Rule("line_blank", "drop", "a line with nothing in it"),
    Rule("line_ragged", "quarantine", "more or fewer fields than the header has columns"),
    Rule("left_out", "drop", "a value that the mapping leaves out, such as a cancelled order", "leave_out"),
    Rule("kind_unknown", "quarantine", "an event that is no purchase, view, message, redemption or return", "kinds"),
    Rule("not_a_product", "drop", "postage, fees, manual entries: codes that are no products", "not_products"),
    Rule("guest", "keep", "no customer id, or one that many share: each order is a guest's", "guests"),
    Rule("customer_shared", "quarantine", "an id with more orders a day than one person has", "most_orders"),
    Rule("customer_missing", "quarantine", "no customer id, and no order to make a guest of", "guests"),
    Rule("day_missing", "quarantine", "no day"),
    Rule("day_unreadable", "quarantine", "a day that no format reads", "day_format"),
    Rule("day_sentinel", "quarantine", "1900, 1970, 9999 and their like: a stand-in for no date", "earliest"),
    Rule("day_in_future", "quarantine", "dated after the data were delivered", "latest"),
    Rule("item_missing", "quarantine", "a purchase, return or view without an item"),
    Rule(
        "item_unknown", "quarantine", "an item that its own table does not have, if that is asked for", "unknown_items"
    ),
    Rule("quantity_unreadable", "quarantine", "a quantity that is no finite number", "decimal"),
    Rule("currency_without_rate", "quarantine", "an amount in a currency that has no rate", "rates"),
    Rule(
        "revenue_unreadable",
        "quarantine",
        "an amount that is no finite number, or 1,234 where , may be either",
        "decimal",
    ),
    Rule("quantity_zero", "quarantine", "a purchase of nothing, or of less without being a return"),
    Rule("price_negative", "quarantine", "money back for goods that stay: an adjustment, not a sale"),
    Rule("line_in_bulk", "quarantine", "more units in one line than a household buys", "most_units"),
    Rule("event_again", "merge", "an event id delivered again; the last stands"),
    Rule("order_again", "merge", "an order delivered again with a correction; the last delivery stands", "corrections"),
    Rule("return_before_purchase", "quarantine", "a return of what the customer had not bought by then", "orphans"),
    Rule("customer_erased", "drop", "a customer who was erased, in a later delivery"),
    Rule("id_rewritten", "keep", "an id read as another writing of it: 12345.0, ' 00123', full-width digits", "ids"),
    Rule("price_zero", "keep", "a purchase that brought nothing: a gift or a sample"),
    Rule("quantity_fraction", "keep", "a weight or length as quantity"),
    Rule("amount_rewritten", "keep", "an amount with a currency sign, decimal comma or thousands"),
    Rule("amount_converted", "keep", "an amount in another currency, at its rate", "rates"),
    Rule(
        "line_returned",
        "keep",
        "goods that came back, by sign, kind or cancellation: netted, never a purchase",
        "cancelled",
    ),
    Rule("line_twice", "keep", "a line that equals another in all that is mapped, without an event id"),
    Rule(
        "day_late",
        "keep",
        "an event that arrived after its day; it counts from when it was there",
        "columns.available_at",
    ),
    Rule("item_unlisted", "keep", "an item that its own table does not have; it belongs to no offer", "unknown_items"),
    Rule("item_without_category", "keep", "an item with an empty description; it belongs to no offer"),
    Rule(
        "item_described_again", "keep", "a second description of an item; the first day's, or the last line's, stands"
    ),
    Rule("item_reused", "keep", "a code whose product changed for good after a pause", "item_identity"),
    Rule("customer_described_again", "keep", "a second description of a customer; the last stands"),
    Rule("identity_cycle", "keep", "ids that stand for each other in a circle; the smallest stands for all"),
    Rule("identity_two_owners", "keep", "an id that is said to be two customers'; it stays its own"),
    Rule("consent_withdrawn", "keep", "a consent taken back later; the last word counts"),
    Rule("consent_missing", "keep", "a customer who was never asked: has not consented"),
    Rule("personal_masked", "keep", "an e-mail address or phone number in an attribute; it is not stored"),
)
RULE_BY_CODE = {rule.code: rule for rule in RULES}
UNUSED_OUTCOMES = ("merged", "quarantined", "dropped")  # where a row can go that is not used


def rule_codes(*deeds: Action) -> tuple[str, ...]:
    """The codes of the rules that do any of these, in the order of the table.

    >>> rule_codes("merge")
    ('file_twice', 'event_again', 'order_again')
    """
    return tuple(rule.code for rule in RULES if rule.does in deeds)
