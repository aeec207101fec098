"""Cleaning rules: the table of rules, and the modules that apply them.

`RULES` is the complete list: the documentation prints it, `meta.json` and the quarantine use its codes, and tests hold
a fixture for each. A row is counted under the first rule it breaks, in the order of the table.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Action = Literal["reject", "quarantine", "drop", "merge", "keep"]


class Rule(NamedTuple):
    """A cleaning rule.

    Notes
    -----
    Actions: `reject` ends the command with exit code 3 and names the file and line. `quarantine` stores the row beside
    the log with the code of the rule. `drop` counts the row, which is not an event. `merge` counts the row, which
    another row replaces. `keep` uses the row, repaired or unchanged, and counts it as a warning.
    """

    code: str
    action: Action
    meaning: str
    setting: str = ""  # setting of `data.source` that changes the rule


RULES = (
    Rule("file_empty", "reject", "file of zero bytes"),
    Rule("file_without_rows", "reject", "no file of the pattern has a row below its header"),
    Rule("file_unreadable", "reject", "truncated or damaged file"),
    Rule("file_not_text", "reject", "zero byte in a text file: another format or a damaged file", "encoding"),
    Rule("day_order_unclear", "reject", "dates such as 03/04/2024 that may be day first or month first", "day_format"),
    Rule("day_not_a_date", "reject", "day column of small numbers or durations, not calendar dates", "columns.day"),
    Rule("currencies_mixed", "reject", "amounts in several currencies without exchange rates", "rates"),
    Rule("cents_mixed", "reject", "prices of a file are about 100 times those of another for the same items", "scale"),
    Rule("file_twice", "merge", "file with the same bytes as an earlier file of the pattern"),
    Rule("file_transcoded", "keep", "row of a text file that was read in another encoding than UTF-8", "encoding"),
    Rule("line_blank", "drop", "line without any value"),
    Rule("line_ragged", "quarantine", "line with more or fewer fields than the header, or quoted as a whole"),
    Rule("left_out", "drop", "value that the mapping excludes, such as a cancelled order", "leave_out"),
    Rule(
        "kind_unknown", "quarantine", "event of a kind that the log does not have", "kinds"
    ),
    Rule(
        "not_a_product", "drop",
        "item whose code or description is postage, a fee, discount, voucher, deposit, test, manual entry or the like",
        "not_products",
    ),
    Rule("refunded", "drop", "line that was paid back or cancelled as a whole", "columns.refund"),
    Rule(
        "id_truncated", "quarantine",
        "customer or item id whose last digits are lost, such as 1.23457E+12 from a spreadsheet",
    ),
    Rule(
        "guest", "keep",
        "order without a customer id, with a stand-in (-1, guest) or a shared id; it becomes one guest", "guests",
    ),
    Rule("customer_shared", "quarantine", "customer id with more orders per day than one person makes", "most_orders"),
    Rule("customer_missing", "quarantine", "no customer id and no order id from which to make a guest", "guests"),
    Rule("day_missing", "quarantine", "no day"),
    Rule("day_unreadable", "quarantine", "day in an unknown format", "day_format"),
    Rule("day_sentinel", "quarantine", "placeholder for a missing date, such as 1900, 1970 or 9999", "earliest"),
    Rule("day_in_future", "quarantine", "day after the delivery of the data", "latest"),
    Rule("item_missing", "quarantine", "purchase, return, view or cart without an item"),
    Rule(
        "item_unknown", "quarantine", "item missing from the table of items, with unknown_items=quarantine",
        "unknown_items",
    ),
    Rule(
        "quantity_unreadable", "quarantine",
        "quantity that is not a finite number, is too large, or is ambiguous", "decimal",
    ),
    Rule("currency_without_rate", "quarantine", "amount in a currency without an exchange rate", "rates"),
    Rule(
        "revenue_unreadable", "quarantine",
        "amount that is not a finite number, is too large (1e39), or is ambiguous (1,234)", "decimal",
    ),
    Rule(
        "discount_unreadable", "quarantine", "discount or refund that is not a finite number or percentage", "decimal",
    ),
    Rule("quantity_zero", "quarantine", "purchase of zero or fewer units that is not a return"),
    Rule(
        "price_negative", "quarantine",
        "purchase with negative revenue, after its discount: an adjustment, not a sale",
    ),
    Rule("line_in_bulk", "quarantine", "more units in one line than a household buys", "most_units"),
    Rule("event_again", "merge", "event id that is delivered again; the last delivery is used"),
    Rule("order_again", "merge", "order that is delivered again with corrections; the last delivery is used",
         "corrections"),
    Rule("return_before_purchase", "quarantine", "return of an item that the customer had not bought", "orphans"),
    Rule("customer_erased", "drop", "delivery of an erased customer"),
    Rule("event_expired", "drop", "event older than the days of data.keep before the last purchase"),
    Rule("quarantine_expired", "drop", "quarantined row of a day older than that, which is removed"),
    Rule(
        "line_completed", "keep",
        "line that takes customer, status, currency or the like from the first line of its order", "header_once",
    ),
    Rule("id_rewritten", "keep", "id that was normalised, such as 12345.0, ' 00123' or full-width digits", "ids"),
    Rule("customer_zero", "keep", "customer 0, which may stand for nobody", "guest_ids"),
    Rule("price_zero", "keep", "purchase without revenue: a gift or sample"),
    Rule("quantity_fraction", "keep", "fractional quantity: a weight or length"),
    Rule("amount_rewritten", "keep", "amount with a currency sign, decimal comma or thousands separator"),
    Rule("amount_converted", "keep", "amount converted from another currency", "rates"),
    Rule(
        "line_returned", "keep", "return, by sign, kind or cancellation; netted from revenue, never a purchase",
        "cancelled",
    ),
    Rule("line_twice", "keep", "sale or return equal to an earlier one in all mapped columns, without an event id"),
    Rule(
        "discount_repeated", "keep",
        "line with the same discount as all others of its order; if it is that of the whole order, divide it among the "
        "lines before", "columns.discount",
    ),
    Rule(
        "discount_divided", "keep", "line that bears a share of the discount or refund of its whole order",
        "columns.order_discount",
    ),
    Rule(
        "not_product_kept", "keep", "line that is not a product by its name, kept by not_products=[]", "not_products",
    ),
    Rule(
        "refund_deducted", "keep", "line from which a partial refund or cancelled units are deducted", "columns.refund",
    ),
    Rule(
        "day_late", "keep", "event that became available after its day; it is dated to its availability",
        "columns.available_at",
    ),
    Rule("time_unreadable", "keep", "time of day that cannot be read; the event has none", "columns.time"),
    Rule("cost_unreadable", "keep", "cost that is not a finite number; it is not known", "columns.cost"),
    Rule(
        "probability_unreadable", "keep",
        "probability of being sent that is not above 0 and at most 1; it is not known", "columns.probability",
    ),
    Rule("item_unlisted", "keep", "item missing from the table of items; it belongs to no offer", "unknown_items"),
    Rule("item_without_category", "keep", "item with an empty description; it belongs to no offer"),
    Rule(
        "item_described_again", "keep",
        "second description of an item; the first day's (events) or the last row's (table) is used",
    ),
    Rule("item_reused", "keep", "item code whose description changed after a pause in sales", "item_identity"),
    Rule("customer_described_again", "keep", "second description of a customer; the last is used"),
    Rule(
        "acquisition_unreadable", "keep",
        "date or cost of acquisition that cannot be read; it is not known", "acquisition",
    ),
    Rule(
        "customer_unlisted", "keep",
        "customer missing from the table of customers, if most are; ids may be written in another way", "customer_key",
    ),
    Rule("identity_cycle", "keep", "ids that replace each other in a cycle; the smallest replaces all"),
    Rule("identity_two_owners", "keep", "id with two replacements; it is not replaced"),
    Rule("consent_withdrawn", "keep", "consent that was withdrawn; the withdrawal is used"),
    Rule("consent_unclear", "keep", "consent entry that is no clear yes or no, such as maybe; treated as no consent"),
    Rule("consent_missing", "keep", "customer without a consent entry; treated as no consent"),
    Rule(
        "sale_undone", "keep",
        "large sale that a line of another item, such as Manual, takes back from its customer; it is still revenue",
        "leave_out",
    ),
    Rule("sale_implausible", "keep", "sale larger than the largest sales of its market allow", "leave_out"),
    Rule(
        "customer_dominant", "keep",
        "event of a customer with ten times the events of any other, who may stand for nobody", "guest_ids",
    ),
    Rule("personal_masked", "keep", "e-mail address or phone number in an attribute; it is not stored"),
)  # fmt: skip
RULE_BY_CODE = {rule.code: rule for rule in RULES}
UNUSED_OUTCOMES = ("merged", "quarantined", "dropped")  # outcomes of rows that do not become events


def rule_codes(*actions: Action) -> tuple[str, ...]:
    """List the codes of the rules with one of the actions.

    Parameters
    ----------
    *actions : str
        Actions of `Rule`.

    Returns
    -------
    tuple of str
        Codes in the order of `RULES`.

    Examples
    --------
    >>> rule_codes("merge")
    ('file_twice', 'event_again', 'order_again')
    """
    return tuple(rule.code for rule in RULES if rule.action in actions)
