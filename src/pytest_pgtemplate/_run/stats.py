"""What is counted while a run goes on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


@dataclass(eq=False, repr=False)
class DatabaseStats:
    """What a worker did with one database, for the summary. Times in seconds."""

    worker: str
    database: str = ""  # its name in pg_databases; the main one has none
    server: str = ""
    room: int = 0  # how many workers the server has connections for
    allowed: int = 0  # connections to the server
    connections: int = 0  # the most that the worker had, to all its databases, if that was counted
    template: str = ""
    built: str = ""  # how it built the template, if it did
    why: str = ""  # what has changed since another one was built
    tracking: str = ""
    event_triggers: bool = False
    stand_ins: list[str] = field(default_factory=list)  # extensions
    template_time: float = 0.0
    clone_time: float = 0.0
    from_spare: bool = False  # there was nothing to clone
    resets: int = 0
    reset_time: float = 0.0
    layers: list[tuple[str, str, int, float]] = field(default_factory=list)  # owner, node, rows, s
    recloned: list[str] = field(default_factory=list)  # "test: why"
    kept: list[str] = field(default_factory=list)  # "test or worker: psql .."
    differences: list[str] = field(default_factory=list)  # lines: why its database became no spare

    def as_dict(self) -> dict[str, object]:
        return asdict(self)
