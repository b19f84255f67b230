import os
from sqlalchemy import URL


def part(name):
    return os.environ[f"SHOP_{name}"]


URL = URL.create(
    "postgresql+psycopg",
    part("USER"),
    part("PASSWORD"),
    part("HOST"),
    int(part("PORT")),
    part("DB"),
)
