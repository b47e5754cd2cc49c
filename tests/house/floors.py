"""The floors of the house as data (DESIGN section 2): who may import whom, and what the first floor may not touch.

A room is a module or package directly inside `ocs`. A new room is added here first: a room without a floor is a
failing test.
"""

from __future__ import annotations

GROUND = frozenset({"clock", "api_limits", "limits", "money", "names", "outcomes", "records", "units"})
FIRST_FLOOR = frozenset({"charging", "diameter", "rating"})
ROOF = frozenset({"__init__", "__main__", "commands", "demo", "log", "roof", "settings"})

_BELOW_KEEPERS = GROUND | FIRST_FLOOR
_KEEPERS = frozenset({"balance", "sessions"})

# Rooms of `ocs` -> the rooms of `ocs` that they may import, besides themselves.
MAY_IMPORT: dict[str, frozenset[str]] = {
    **dict.fromkeys(GROUND, frozenset()),  # words: nothing of ours
    "diameter": GROUND,  # knows nothing of charging
    "rating": GROUND,
    "charging": GROUND | {"diameter", "rating"},  # knows nothing of the store
    "balance": _BELOW_KEEPERS,
    "sessions": _BELOW_KEEPERS | {"balance", "stream"},
    "stream": GROUND | {"balance"},
    "sql": GROUND,
    "notices": _BELOW_KEEPERS | _KEEPERS | {"stream"},
    "topups": _BELOW_KEEPERS | _KEEPERS | {"stream", "notices"},
    "server": _BELOW_KEEPERS | _KEEPERS | {"stream"},
    "http": _BELOW_KEEPERS | _KEEPERS | {"stream", "notices"},
    "care": _BELOW_KEEPERS | _KEEPERS | {"stream", "notices", "sql", "http"},
}
MAY_IMPORT |= {room: frozenset(MAY_IMPORT) | ROOF for room in ROOF}

# Rooms of the bridge: pure rules, but for these. It may use the rooms of `ocs` below, and nothing in `ocs` knows it.
BRIDGE_KEEPERS = frozenset({"sql", "jobs", "http", "documents", "roof", "__main__", "__init__"})
BRIDGE_MAY_IMPORT = GROUND | {"rating", "balance", "stream", "notices", "sql", "http", "care"}
BRIDGE_ROOF = frozenset({"roof", "__main__"})

# No SQL enters the charging process: only these rooms, and the roof, may import it.
SQL_MODULES = frozenset({"alembic", "psycopg", "sqlalchemy", "sqlite3", "aiosqlite"})
SQL_ROOMS = frozenset({"sql", "care"}) | ROOF

# The first floor is pure: no event loop, clock, chance, logging, input or output.
IMPURE_MODULES = frozenset(
    {
        "asyncio", "concurrent", "ctypes", "ftplib", "glob", "hiredis", "http", "httpx", "io", "logging", "mmap",
        "multiprocessing", "os", "pathlib", "prometheus_client", "queue", "random", "redis", "sched", "secrets",
        "select", "selectors", "shutil", "signal", "socket", "socketserver", "ssl", "structlog", "subprocess",
        "sys", "tempfile", "threading", "time", "urllib", "uuid", "uvloop", "valkey", "warnings",
    }
)  # fmt: skip
IMPURE_CALLS = frozenset({"__import__", "breakpoint", "eval", "exec", "input", "open", "print"})
# Who may call one of them all the same, and why it stays pure.
PURE_ALL_THE_SAME = {
    (
        "ocs/diameter/shapes.py",
        "exec",
    ): "compiles readers whose source is made of the dictionary's names and of numbers",
}
# As attributes of anything: datetime.now(), date.today(), path.read_text() …
IMPURE_METHODS = frozenset(
    {"now", "open", "read_bytes", "read_text", "today", "utcnow", "write_bytes", "write_text"}
)

# What the ground floor may import besides the standard library: nothing. The first floor: shapes, text and calendars, no I/O.
THIRD_PARTY_OF_FIRST_FLOOR = frozenset({"holidays", "pydantic", "yaml"})
