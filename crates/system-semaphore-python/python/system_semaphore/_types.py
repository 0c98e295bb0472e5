"""The classes that are better written in Python: exceptions and tuples."""

from __future__ import annotations

import errno
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ._native import NativeKey


class SemaphoreError(OSError):
    """Something about a semaphore went wrong. The subclasses say what; the text also says on which key and what to do."""

    key: str
    """The text of the key that it was tried on."""


class PermissionDeniedError(SemaphoreError, PermissionError):
    """The semaphore belongs to another user, who has not allowed it."""


class InvalidKeyError(SemaphoreError, ValueError):
    """The key cannot name a semaphore."""


class AlreadyExistsError(SemaphoreError, FileExistsError):
    """A semaphore of that name is there, and a new one was asked for."""


class NotFoundError(SemaphoreError, FileNotFoundError):
    """There is no such semaphore, or it was removed while in use."""


class OutOfResourcesError(SemaphoreError):
    """A limit was met: the largest count, the number of semaphores, memory, descriptors."""


class TimedOutError(SemaphoreError, TimeoutError):
    """The time was over first, and nothing was acquired."""


class NoPermitsError(TimedOutError):
    """No time was given, and there were not enough permits."""


class UnsupportedError(SemaphoreError):
    """This type of semaphore cannot do that."""


class CorruptError(SemaphoreError):
    """What stands under that name is not a usable semaphore."""


class UnknownError(SemaphoreError):
    """The operating system gave a reason that has no class of its own; errno and the text carry it."""


# and the errno where the operating system gave none
_CLASSES: dict[str, tuple[type[SemaphoreError], int]] = {
    "PermissionDenied": (PermissionDeniedError, errno.EACCES),
    "Key": (InvalidKeyError, errno.EINVAL),
    "AlreadyExists": (AlreadyExistsError, errno.EEXIST),
    "NotFound": (NotFoundError, errno.ENOENT),
    "OutOfResources": (OutOfResourcesError, errno.ENOSPC),
    "TimedOut": (TimedOutError, errno.ETIMEDOUT),
    "NoPermits": (NoPermitsError, errno.EAGAIN),
    "Unsupported": (UnsupportedError, errno.EOPNOTSUPP),
    "Corrupt": (CorruptError, errno.EIO),
    "Unknown": (UnknownError, errno.EIO),
}


def error_of(kind: str, number: int | None, text: str, key: str) -> SemaphoreError:
    """Makes the exception for an error of the library's."""
    error_class, default = _CLASSES[kind]
    error = error_class(default if number is None else number, text)
    error.key = key
    return error


class Holder(NamedTuple):
    """Who holds permits."""

    pid: int | None
    """The process, unless it is one of another PID namespace."""
    command: str | None
    """The name of its program, where that may be read."""
    permits: int
    since: datetime | None
    """Since when, where that is known."""


class Listed(NamedTuple):
    """A semaphore that is on this machine. None: that cannot be seen."""

    native_key: NativeKey | None
    """What it can be opened by."""
    type: str
    name: str
    path: Path | None
    """The file that it is in, or that its key is made of."""
    owner: int
    available: int | None
    holders: list[Holder] | None
    waiting: int | None
