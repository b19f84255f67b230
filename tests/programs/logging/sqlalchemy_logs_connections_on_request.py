import logging
import pytest


@pytest.fixture(autouse=True)
def log_connections():
    logger = logging.getLogger("sqlalchemy.pool")
    logger.setLevel("DEBUG")
    yield
    logger.setLevel("NOTSET")
