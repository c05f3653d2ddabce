"""The logs behind the committed presets: files, columns, source and licence, so that one short command refits each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from perennial.envs.calibration.logs import PurchaseLog, read_purchases
from perennial.envs.calibration.sessions import ClickLog, read_clicks
from perennial.envs.preset import Source

CC_BY = "Creative Commons Attribution 4.0 International (CC BY 4.0), https://creativecommons.org/licenses/by/4.0/"


def _named(columns: Mapping[str, str]) -> str:
    """The columns and what they mean."""
    return ", ".join(f"{name} ({role})" for role, name in columns.items())


@dataclass(frozen=True)
class ShopRecipe:
    """A purchase log and how to read it; the arguments are those of `read_purchases`, files lie in one `folder`."""

    name: str
    title: str
    source: Source
    folder: str
    purchases: str
    columns: Mapping[str, str]
    categories: str
    drop: tuple[str, ...] = ()
    since: date | None = None
    until: date | None = None
    cancelled: str = ""

    @property
    def files(self) -> str:
        """What the folder must hold: the log under our names for its columns, and the categories' rules."""
        return (
            f"{self.source.name}. DIR holds {self.purchases}, with the columns {_named(self.columns)}, and "
            f"{self.categories}, which finds the categories: rules (order, category, regex) or a lookup table (text, "
            "category)."
        )

    def read(self, folder: Path) -> PurchaseLog:
        """The clean log."""
        return read_purchases(
            folder / self.purchases, self.columns, folder / self.categories,
            self.drop, self.since, self.until, self.cancelled,
        )  # fmt: skip


@dataclass(frozen=True)
class VisitRecipe:
    """A click log and how to read it; the arguments are those of `read_clicks`."""

    name: str
    source: Source
    folder: str
    clicks: str
    columns: Mapping[str, str]

    @property
    def files(self) -> str:
        """What the folder must hold: the log under our names for its columns."""
        return f"{self.source.name}. DIR holds {self.clicks}, with the columns {_named(self.columns)}."

    def read(self, folder: Path) -> ClickLog:
        """The clean log."""
        return read_clicks(folder / self.clicks, self.columns)


GIFT_SHOP = ShopRecipe(
    name="gift_shop",
    title="A British giftware web shop; many of its customers are wholesalers",
    source=Source(
        name="Online Retail II (UCI dataset 502, doi:10.24432/C5CG6D), 2009-12-01 to 2010-11-30",
        licence=CC_BY,
        citation=(
            "Chen D. (2019). Online Retail II [Dataset]. UCI Machine Learning Repository. doi:10.24432/C5CG6D. "
            "See also Chen D., Sain S.L., Guo K. (2012), "
            "J. Database Marketing & Customer Strategy Management 19(3):197-208."
        ),
        command="perennial-calibrate gift_shop --data online_retail_ii --out gift_shop.json",
    ),
    folder="online_retail_ii",
    purchases="year1_2009-12-01_2010-11-30.parquet",
    columns={
        "user": "customer_id", "order": "invoice", "time": "invoice_date", "item": "stock_code",
        "text": "description", "price": "unit_price", "quantity": "quantity",
    },
    categories="themes.csv",
    drop=("admin",),
    cancelled="C",
)  # fmt: skip

MARKETPLACE = ShopRecipe(
    name="marketplace",
    title="A general marketplace: purchases of a panel of US shoppers, a user's day taken as an order",
    source=Source(
        name="Open e-commerce 1.0 (Harvard Dataverse, doi:10.7910/DVN/YGLYDY), 2018-2019, 29 states",
        licence="CC0 1.0, https://creativecommons.org/publicdomain/zero/1.0/",
        citation=(
            "Berke A., Calacci D., Mahari R., Yabe T., Larson K., Pentland A. Open e-commerce 1.0, five years of "
            "crowdsourced U.S. Amazon purchase histories with user demographics. Scientific Data 11, 491 (2024). "
            "doi:10.1038/s41597-024-03329-6"
        ),
        command="perennial-calibrate marketplace --data amazon_open_ecommerce --out marketplace.json",
    ),
    folder="amazon_open_ecommerce",
    purchases="purchases_2018_2020.parquet",
    columns={
        "user": "user_id", "time": "order_date", "item": "asin",
        "text": "category", "price": "unit_price", "quantity": "quantity",
    },
    categories="category_departments.csv",
    until=date(2019, 12, 31),
)  # fmt: skip

CLOTHING_VISITS = VisitRecipe(
    name="clothing_visits",
    source=Source(
        name="Clickstream data for online shopping (UCI dataset 553, doi:10.24432/C5QK7X), 2008-04 to 2008-06",
        licence=CC_BY,
        citation=(
            "Lapczynski M., Bialowas S. (2013) Discovering Patterns of Users' Behaviour in an E-shop - Comparison of "
            "Consumer Buying Behaviours in Poland and Other European Countries. Studia Ekonomiczne 151:144-153."
        ),
        command="perennial-calibrate clothing_visits --data eshop_clothing_2008 --out visits.json",
    ),
    folder="eshop_clothing_2008",
    clicks="clicks_2008-04_2008-06.parquet",
    columns={
        "session": "session_id", "order": "order", "category": "main_category",
        "product": "model", "page": "page",
    },
)  # fmt: skip

TRADES = Source(
    name="US Census Bureau, Monthly Retail Trade, by kind of business, not seasonally adjusted, 1992 to 2005",
    licence="US Government work, public domain (17 USC 105)",
    citation=(
        "U.S. Census Bureau, Monthly Retail Trade Survey; the vintage shipped as dataset 'Retail' in "
        "github.com/rjdverse/rjd3toolkit @bc51547."
    ),
    command=(
        "perennial-calibrate drifts --census us_retail_sales_nsa_musd_1992_2005.csv --data amazon_open_ecommerce "
        "--out drifts.json"
    ),
)

THREE_YEARS = replace(
    MARKETPLACE,
    source=replace(
        MARKETPLACE.source,
        name="Open e-commerce 1.0 (Harvard Dataverse, doi:10.7910/DVN/YGLYDY), 2018-2020, 29 states",
        command=TRADES.command,
    ),
    until=None,
)

SHOPS = {recipe.name: recipe for recipe in (GIFT_SHOP, MARKETPLACE)}
VISITS = {recipe.name: recipe for recipe in (CLOTHING_VISITS,)}
