"""Text files with the small faults that exports leave: each is read rightly, said with its row, or refused clearly."""

from pathlib import Path

from mmesid.data.formats import How
from tests.data.test_cases import RIGHT, histories, rows, shop
from tests.data.test_exports import refusal

__all__ = ["shop"]

NAMES = ("user_id", "item_id", "timestamp")


def test_a_name_that_stands_twice_matters_where_it_is_read(shop: Path) -> None:
    lines = ["id,user_id,item_id,timestamp,id", *(f"1,{','.join(row)},2" for row in rows(shop))]
    (shop / "interactions.csv").write_text("\n".join(lines), encoding="utf-8")
    assert histories(shop) == RIGHT
    assert "has the column id 2 times" in refusal(shop, How(columns={"interactions.user_id": "id"}))
