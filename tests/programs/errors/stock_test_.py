import logging
import pytest
from sqlalchemy import text

logger = logging.getLogger("shop.orders")  # made before the migrations run


def test_database(pg_sync_session, caplog):
    assert pg_sync_session.scalars(text("SELECT name FROM item")).all() == ["reference"]
    assert not logger.disabled
    logger.info("never mind")
    logger.warning("mind")
    assert "mind" in caplog.text
