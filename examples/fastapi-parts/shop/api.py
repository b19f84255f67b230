from fastapi import FastAPI, HTTPException
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from shop.db import Product, sessionmaker

app = FastAPI()


@app.post("/products/{name}", status_code=201)
async def add(name: str) -> int:
    product = Product(name=name)
    try:
        async with sessionmaker.begin() as session:
            session.add(product)
    except IntegrityError:
        raise HTTPException(409, f"there is a {name}") from None
    return product.id


@app.get("/products")
async def names() -> list[str]:
    async with sessionmaker() as session:
        return list(await session.scalars(select(Product.name).order_by(Product.id)))
