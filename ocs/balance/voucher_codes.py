"""Codes of vouchers: drawn by chance, shown once, and known to the store by a keyed hash alone.

Laws
1. A code is digits of ``secrets``, each as likely as any other. Nothing here keeps one, and no text of an object shows one.
2. A voucher's name in the store is the leftmost 128 bits of HMAC-SHA-256 (RFC 2104 section 5) of its code under the operator's secret: who
   has the store without the secret cannot try codes against it.
3. The secret comes from the settings, or from a file in the data folder that is made when the first batch is. Its loss, or another one,
   makes every voucher that exists worthless: so which one it is, is noted in the store, and another is refused.
"""

import hmac
import os
import re
import secrets
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Final

from ocs.api_limits import VOUCHER_DIGITS_MAX, VOUCHER_DIGITS_MIN

SECRET_CHARS_MIN: Final = 32
NAME_OCTETS: Final = 16
"""Octets of a voucher's name, before it is written as text."""

_CODE: Final = re.compile(rf"[0-9]{{{VOUCHER_DIGITS_MIN},{VOUCHER_DIGITS_MAX}}}")
_SEPARATORS: Final = str.maketrans("", "", " -")


class SecretFault(ValueError):
    """There is no secret, or it cannot be used; the text holds nothing of it."""


def draw(digits: int) -> str:
    """Return a code that was never more likely than any other of so many digits."""
    return f"{secrets.randbelow(10**digits):0{digits}d}"


def read_code(text: str) -> str | None:
    """Read a code as people write it, with blanks or hyphens between its digits; None: it cannot be one."""
    code = text.strip().translate(_SEPARATORS)
    return code if _CODE.fullmatch(code) else None


class Secret:
    """The operator's secret: from the settings, or from the file; read when it is first needed."""

    __slots__ = ("_file", "_key")

    def __init__(self, given: str, file: Path) -> None:
        self._file = file
        self._key = given.encode()

    def octets(self, code: str) -> bytes:
        """Return a voucher's name as octets. Raises SecretFault."""
        return hmac.digest(self._known(), code.encode(), "sha256")[:NAME_OCTETS]

    def mark(self) -> str:
        """Return what tells this secret from another one. Raises SecretFault."""
        return hmac.digest(self._known(), b"which secret is this", "sha256")[:6].hex()

    def make(self) -> None:
        """Make the file where there is neither file nor setting. Raises SecretFault, OSError."""
        if self._key or self._file.exists():
            return
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(handle, secrets.token_hex(32).encode() + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        try:
            os.link(draft, self._file)  # two who make it at once have one
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        folder = os.open(self._file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _known(self) -> bytes:
        if not self._key:
            try:
                text = self._file.read_bytes().strip()
            except FileNotFoundError:
                raise SecretFault(
                    f"the secret of the vouchers is not here: {self._file} is missing, and vouchers.secret is not set"
                ) from None
            if len(text) < SECRET_CHARS_MIN:
                raise SecretFault(f"{self._file}: holds less than {SECRET_CHARS_MIN} characters")
            self._key = text
        return self._key


def name_of(octets: bytes) -> str:
    """Write a voucher's name as text for a key."""
    return urlsafe_b64encode(octets).rstrip(b"=").decode()
