from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
from shop.models import User
from shop.settings import URL

engine = create_engine(URL)


def add_user(session, name):
    user = session.scalar(select(User).where(User.name == name))
    if user is None:
        user = User(name=name)
        session.add(user)
        session.commit()
        session.refresh(user)
    return user
