"""How a command ends: exit codes as INTERFACE promises them, and the one exception that carries one."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    FOUND_WRONG = 1
    USAGE = 2
    CONFLICT = 3
    NOT_FOUND = 4
    STORE_UNAVAILABLE = 5


class Ended(Exception):
    """A command ends here, with a code and a sentence that says what would be right; it holds no secret."""

    def __init__(self, code: Exit, text: str) -> None:
        super().__init__(text)
        self.code = code
