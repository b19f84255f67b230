"""The statistics of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


@dataclass(eq=False, repr=False)
class DatabaseStats:
    """The statistics of one worker and database, for the summary. Times in seconds."""

    worker: str
    database: str = ""  # name in pg_databases; "": the main database
    server: str = ""
    is_tested: bool = True  # the version of the server
    room: int = 0  # number of workers that the server has connections for
    lock_room: int = -1  # number of workers that may lock all tables and indexes; -1: unknown
    allowed: int = 0  # max_connections of the server
    connections: int = 0  # maximum of the worker, for all its databases; 0: not counted
    template: str = ""
    built: str = ""  # how this worker built the template; "": it did not
    why: str = ""  # the reason for the build
    tracking: str = ""
    event_triggers: bool = False
    stand_ins: list[str] = field(default_factory=list)  # extensions
    uncovered: list[str] = field(default_factory=list)  # tables and sequences
    template_time: float = 0.0
    clone_time: float = 0.0
    from_spare: bool = False  # a spare was used instead of a clone
    resets: int = 0
    reset_time: float = 0.0
    layers: list[tuple[str, str, int, float]] = field(default_factory=list)  # owner, node, rows, s
    recloned: list[str] = field(default_factory=list)  # "test: reason"
    kept: list[str] = field(default_factory=list)  # "test or worker: psql .."
    differences: list[str] = field(default_factory=list)  # why its database became no spare

    def as_dict(self) -> dict[str, object]:
        return asdict(self)
