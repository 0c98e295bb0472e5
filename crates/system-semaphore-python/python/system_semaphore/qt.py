"""Qt's QSystemSemaphore and QNativeIpcKey without Qt, under PySide's names.

    from system_semaphore.qt import QSystemSemaphore    # instead of PySide6.QtCore

is the only change that a program needs. Unlike PySide's, acquire lets other threads run and answers Ctrl+C. Added to Qt's class
are acquire(n), tryAcquire, available and forget.
"""

from __future__ import annotations

import enum
from typing import overload

from ._native import QtKey, QtSemaphore

__all__ = ["QNativeIpcKey", "QSystemSemaphore"]


class QNativeIpcKey:
    """Qt's class: a type, a native key, and the plain name that it was made from, if it was."""

    class Type(enum.Enum):
        SystemV = 0x51
        PosixRealtime = 0x100
        Windows = 0x101
        Robust = 0x200
        """The crash-safe type of this library, which Qt does not have."""

        @classmethod
        def _missing_(cls, value: object) -> QNativeIpcKey.Type | None:
            # as PySide's: the other types of System V have no names, and what is no type has a number
            if not isinstance(value, int) or not 0 <= value <= 0xFFFF:
                return None
            member = object.__new__(cls)
            member._name_ = str(value)
            member._value_ = value
            # one of each number
            return cls._value2member_map_.setdefault(value, member)  # type: ignore[return-value]

    SystemV = Type.SystemV
    PosixRealtime = Type.PosixRealtime
    Windows = Type.Windows
    Robust = Type.Robust
    DefaultTypeForOs = Type(QtKey.default_type())

    _key: QtKey

    @overload
    def __init__(self, /) -> None: ...
    @overload
    def __init__(self, other: QNativeIpcKey, /) -> None: ...
    @overload
    def __init__(self, type: Type, /) -> None: ...
    @overload
    def __init__(self, k: str, /, type: Type = ...) -> None: ...
    def __init__(self, k: QNativeIpcKey | Type | str = "", /, type: Type = DefaultTypeForOs) -> None:
        if isinstance(k, QNativeIpcKey):
            self._key = k._key
        elif isinstance(k, QNativeIpcKey.Type):
            self._key = QtKey("", k.value)
        else:
            self._key = QtKey(k, _number(type))

    @staticmethod
    def legacyDefaultTypeForOs() -> Type:
        return QNativeIpcKey.Type(QtKey.legacy_default_type())

    @staticmethod
    def fromString(string: str, /) -> QNativeIpcKey:
        return _wrap(QtKey.from_text(string))

    def toString(self, /) -> str:
        return self._key.to_text()

    def isEmpty(self, /) -> bool:
        return self._key.is_empty()

    def isValid(self, /) -> bool:
        return self._key.is_valid()

    def nativeKey(self, /) -> str:
        return self._key.native_key()

    def setNativeKey(self, newKey: str, /) -> None:
        self._key = self._key.with_native_key(newKey)

    def setType(self, type: Type, /) -> None:
        self._key = self._key.with_type(_number(type))

    def type(self, /) -> Type:
        return QNativeIpcKey.Type(self._key.type_number())

    def swap(self, other: QNativeIpcKey, /) -> None:
        self._key, other._key = other._key, self._key

    def __copy__(self, /) -> QNativeIpcKey:
        return _wrap(self._key)

    def __eq__(self, other: object, /) -> bool:
        if isinstance(other, str):
            other = QNativeIpcKey(other)
        return isinstance(other, QNativeIpcKey) and self._key == other._key

    def __hash__(self, /) -> int:
        return hash(self._key)


class QSystemSemaphore:
    """Qt's class. What acquire has taken is held until release, or the end of the process, not of the object."""

    class AccessMode(enum.Enum):
        Open = 0
        Create = 1

    Open = AccessMode.Open
    Create = AccessMode.Create

    class SystemSemaphoreError(enum.Enum):
        NoError = 0
        PermissionDenied = 1
        KeyError = 2
        AlreadyExists = 3
        NotFound = 4
        OutOfResources = 5
        UnknownError = 6

    NoError = SystemSemaphoreError.NoError
    PermissionDenied = SystemSemaphoreError.PermissionDenied
    KeyError = SystemSemaphoreError.KeyError
    AlreadyExists = SystemSemaphoreError.AlreadyExists
    NotFound = SystemSemaphoreError.NotFound
    OutOfResources = SystemSemaphoreError.OutOfResources
    UnknownError = SystemSemaphoreError.UnknownError

    def __init__(
        self, key: QNativeIpcKey | str, /, initialValue: int | None = None, mode: AccessMode = Open
    ) -> None:
        self._semaphore = QtSemaphore(_native(key), initialValue or 0, _is_create(mode))

    def acquire(self, /, n: int = 1) -> bool:
        """Takes n permits, all or none, waiting as long as it takes. (Qt's takes one.)"""
        return self._semaphore.acquire(n)

    def tryAcquire(self, n: int = 1, timeout: int = 0) -> bool:
        """Beyond Qt: waits at most so many milliseconds, without an end if they are negative, as QSemaphore's does."""
        return self._semaphore.acquire(n, timeout)

    def release(self, /, n: int = 1) -> bool:
        """Gives back what this process holds, up to n, and creates the rest of n."""
        return self._semaphore.release(n)

    def forget(self, n: int = 1) -> bool:
        """Beyond Qt: n permits that this process holds stay taken, also when it ends, until somebody releases as many."""
        return self._semaphore.forget(n)

    def available(self, /) -> int:
        """Beyond Qt: how many permits are free; -1 on an error."""
        return self._semaphore.available()

    def error(self, /) -> SystemSemaphoreError:
        return QSystemSemaphore.SystemSemaphoreError(self._semaphore.error())

    def errorString(self, /) -> str:
        return self._semaphore.error_string()

    def key(self, /) -> str:
        return self._semaphore.key()

    def nativeIpcKey(self, /) -> QNativeIpcKey:
        return _wrap(self._semaphore.native_key())

    def setKey(self, key: str, /, initialValue: int | None = None, mode: AccessMode = Open) -> None:
        self._semaphore.set_native_key(_native(key), initialValue or 0, _is_create(mode))

    def setNativeKey(
        self,
        key: QNativeIpcKey | str,
        /,
        initialValue: int | None = None,
        mode: AccessMode = Open,
        type: QNativeIpcKey.Type | None = None,
    ) -> None:
        if not isinstance(key, QNativeIpcKey):
            key = QNativeIpcKey(key, type or QNativeIpcKey.legacyDefaultTypeForOs())
        elif type is not None:
            raise TypeError("a QNativeIpcKey has its own type")
        self._semaphore.set_native_key(key._key, initialValue or 0, _is_create(mode))

    @staticmethod
    def isKeyTypeSupported(type: QNativeIpcKey.Type, /) -> bool:
        return QtSemaphore.is_key_type_supported(_number(type))

    @staticmethod
    def platformSafeKey(key: str, /, type: QNativeIpcKey.Type = QNativeIpcKey.DefaultTypeForOs) -> QNativeIpcKey:
        return _wrap(QtKey.platform_safe(key, _number(type)))

    @staticmethod
    def legacyNativeKey(key: str, /, type: QNativeIpcKey.Type | None = None) -> QNativeIpcKey:
        return _wrap(QtKey.legacy(key, _number(type or QNativeIpcKey.legacyDefaultTypeForOs())))


def _wrap(key: QtKey) -> QNativeIpcKey:
    wrapped = QNativeIpcKey()
    wrapped._key = key
    return wrapped


def _native(key: QNativeIpcKey | str) -> QtKey:
    """What names a semaphore: a plain name means its legacy key."""
    return key._key if isinstance(key, QNativeIpcKey) else QtKey.legacy(key, QtKey.legacy_default_type())


def _number(type: QNativeIpcKey.Type) -> int:
    if not isinstance(type, QNativeIpcKey.Type):
        raise TypeError(f"a QNativeIpcKey.Type is needed, not {type!r}")
    number: int = type.value
    return number


def _is_create(mode: QSystemSemaphore.AccessMode) -> bool:
    if not isinstance(mode, QSystemSemaphore.AccessMode):
        raise TypeError(f"a QSystemSemaphore.AccessMode is needed, not {mode!r}")
    return mode is QSystemSemaphore.AccessMode.Create
