import sys
from pathlib import Path
import pytest
import sqlalchemy
from pytest_pgtemplate import Alembic, Command, Metadata, SqlFiles


class OfTheUser(SqlFiles):
    pass


def seed(url):
    engine = sqlalchemy.create_engine(url.replace("+asyncpg", "+psycopg"))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE item SET name = name"))
