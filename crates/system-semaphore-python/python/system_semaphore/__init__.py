"""Counting semaphores shared by processes: however a process dies, the permits that it held come back.

    from system_semaphore import Semaphore

    printers = Semaphore("printers", 3)         # the same three for every process that says "printers"
    with printers:                              # one of them, waiting for it if need be
        ...
    with printers.permits(2, timeout=1) as p:   # two at once, all or none; TimeoutError after a second
        ...

A wait lets other threads run and answers Ctrl+C at once. A semaphore can be pickled and passed to other processes. Who
comes from Qt finds its class in system_semaphore.qt.
"""

from ._native import (
    NativeKey,
    Permit,
    Semaphore,
    is_key_type_supported,
    legacy_native_key,
    list,
    platform_safe_key,
)
from ._types import (
    AlreadyExistsError,
    CorruptError,
    Holder,
    InvalidKeyError,
    Listed,
    NoPermitsError,
    NotFoundError,
    OutOfResourcesError,
    PermissionDeniedError,
    SemaphoreError,
    TimedOutError,
    UnknownError,
    UnsupportedError,
)

__all__ = [
    "AlreadyExistsError",
    "CorruptError",
    "Holder",
    "InvalidKeyError",
    "Listed",
    "NativeKey",
    "NoPermitsError",
    "NotFoundError",
    "OutOfResourcesError",
    "Permit",
    "PermissionDeniedError",
    "Semaphore",
    "SemaphoreError",
    "TimedOutError",
    "UnknownError",
    "UnsupportedError",
    "is_key_type_supported",
    "legacy_native_key",
    "list",
    "platform_safe_key",
]
