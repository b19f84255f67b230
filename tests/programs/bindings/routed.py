from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Session, scoped_session, sessionmaker

engine = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")


class Routed(Session):
    def get_bind(self, *args, **keywords):
        return engine


def add():
    pass


Tables = sessionmaker(binds={DeclarativeBase: engine})
Own = sessionmaker(class_=Routed)
AsyncOwn = async_sessionmaker(sync_session_class=Routed)
Function = scoped_session(lambda: None)
