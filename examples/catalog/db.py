"""How the application reaches its database."""

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine


class DBSessionManager:
    """One engine, and the sessions on it, for as long as the application runs."""

    def __init__(self, dsn: str) -> None:
        self._engine = create_async_engine(dsn)
        self._asessionmaker = async_sessionmaker(self._engine, expire_on_commit=False)

    @property
    def asessionmaker(self) -> async_sessionmaker[AsyncSession]:
        return self._asessionmaker

    async def close(self) -> None:
        await self._engine.dispose()
