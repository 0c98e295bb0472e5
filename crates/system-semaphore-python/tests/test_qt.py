"""Qt's class: what its documentation shows, its rules for lifetimes, and the switch to crash-safe semaphores."""

import copy
import os
import signal

import pytest
from conftest import BOUND, until

from system_semaphore import NativeKey, Semaphore
from system_semaphore.qt import QNativeIpcKey, QSystemSemaphore


@pytest.fixture(params=["native", "robust"], autouse=True)
def engine(request, monkeypatch):
    """Everything here holds for both."""
    monkeypatch.setenv("SYSTEM_SEMAPHORE_QT", request.param)
    return request.param


EXAMPLES = """
sem = QSystemSemaphore("market", 3, QSystemSemaphore.Create)
# resources available == 3
sem.acquire()   # resources available == 2
sem.acquire()   # resources available == 1
sem.acquire()   # resources available == 0
sem.release()   # resources available == 1
sem.release(2)  # resources available == 3
---
sem = QSystemSemaphore("market", 5, QSystemSemaphore.Create)
sem.acquire(5)          # acquire all 5 resources == 0
sem.release(5)          # release the 5 resources == 5
sem.release(10)         # "create" 10 new resources == 15
"""


@pytest.mark.parametrize("example", EXAMPLES.split("---"))
def test_the_examples_of_the_page(example, key):
    """Run line by line; after each the comment is true."""
    names = {"QSystemSemaphore": QSystemSemaphore}
    checked = 0
    for line in example.strip().splitlines():
        exec(line.replace('"market"', repr(key)), names)
        if "==" in line:
            assert names["sem"].available() == int(line.rpartition("== ")[2]), line
            checked += 1
    assert checked == (6 if "sem.acquire()" in example else 3)


def test_another_process_sees_it(key, child, engine):
    sem = QSystemSemaphore(key, 3, QSystemSemaphore.AccessMode.Create)
    assert sem.acquire()
    other = child(
        "import sys; from system_semaphore.qt import QSystemSemaphore as Q; print(Q(sys.argv[1]).available())", key
    )
    assert other.line() == "2"
    assert other.end() == 0
    found = Semaphore(key, mode="open_existing", type="robust" if engine == "robust" else "systemv")
    assert found.available == 2
    sem.release()


def test_a_killed_holder(key, child, engine):
    """System V gives back by itself; POSIX only with the switch."""
    native = QSystemSemaphore.platformSafeKey(key)
    assert native.type() == QNativeIpcKey.PosixRealtime
    sem = QSystemSemaphore(native, 1, QSystemSemaphore.Create)
    holder = child(
        """if True:
        import sys
        from system_semaphore.qt import *
        sem = QSystemSemaphore(QNativeIpcKey.fromString(sys.argv[1]))
        print(sem.acquire(), flush=True)
        sys.stdin.read()
        """,
        native.toString(),
    )
    assert holder.line() == "True"
    assert not sem.tryAcquire()
    assert holder.kill() == -signal.SIGKILL
    if engine == "robust":
        assert sem.tryAcquire(1, BOUND * 1000)
        assert sem.release()
    else:
        assert not sem.tryAcquire(1, 50)
        assert sem.release()
    assert sem.available() == 1


def test_held_until_release_or_the_end_of_the_process_not_of_the_object(key, child, engine):
    keeper = QSystemSemaphore(key, 2, QSystemSemaphore.Create)
    program = child(
        """if True:
        import sys
        from system_semaphore.qt import QSystemSemaphore
        sem = QSystemSemaphore(sys.argv[1])
        sem.acquire()
        del sem
        print(QSystemSemaphore(sys.argv[1]).available(), flush=True)
        sys.stdin.readline()
        other = QSystemSemaphore(sys.argv[1])
        other.acquire()
        print(other.available(), flush=True)
        sys.stdin.readline()
        """,
        key,
    )
    assert program.line() == "1"
    assert keeper.available() == 1
    program.tell()
    assert program.line() == "0"
    program.tell()
    assert program.end() == 0
    until(lambda: keeper.available() == 2, "the return")


def test_any_object_of_the_process_may_release(key):
    first, second = QSystemSemaphore(key, 1, QSystemSemaphore.Create), QSystemSemaphore(key)
    assert first.acquire()
    assert second.release()
    assert first.available() == 1
    assert first.tryAcquire()
    assert first.forget()
    assert not first.forget()
    assert second.release()
    assert first.available() == 1


def test_the_same_key_again(key):
    sem = QSystemSemaphore(key, 3, QSystemSemaphore.Create)
    assert sem.acquire()
    sem.setKey(key, 7)
    assert sem.available() == 2
    sem.setKey(key, 7, mode=QSystemSemaphore.Create)
    assert sem.available() == 7
    assert sem.error() == QSystemSemaphore.NoError


def test_another_key_lets_the_first_go(key, engine):
    sem = QSystemSemaphore(key, 3)
    sem.setKey(key + "-other", 1)
    assert (sem.key(), sem.available()) == (key + "-other", 1)
    assert QSystemSemaphore(key, 9).available() == 9


def test_empty_keys():
    sem = QSystemSemaphore("")
    assert sem.error() is QSystemSemaphore.SystemSemaphoreError.NoError
    assert not sem.acquire()
    assert sem.error() is QSystemSemaphore.KeyError
    assert sem.errorString() == "QSystemSemaphore::handle:: key is empty"
    assert sem.release(0)
    assert QSystemSemaphore("", 1, QSystemSemaphore.Create).error() is QSystemSemaphore.KeyError


def test_negative_and_zero_release(key, capfd):
    sem = QSystemSemaphore(key, 2)
    assert not sem.release(-1)
    assert "QSystemSemaphore::release: n is negative." in capfd.readouterr().err
    assert sem.release(0)
    assert (sem.error(), sem.available()) == (QSystemSemaphore.NoError, 2)
    with pytest.raises(OverflowError):
        sem.release(2**31)


def test_unsupported_types(key):
    sem = QSystemSemaphore(key, 2)
    sem.setNativeKey(QNativeIpcKey("x", QNativeIpcKey.Windows))
    assert sem.error() is QSystemSemaphore.KeyError
    assert sem.errorString() == "QSystemSemaphore::setNativeKey: unsupported key type"
    assert (sem.key(), sem.available()) == (key, 2)
    assert QSystemSemaphore.isKeyTypeSupported(QNativeIpcKey.SystemV)
    assert not QSystemSemaphore.isKeyTypeSupported(QNativeIpcKey.Type.Windows)


def test_an_unknown_engine_is_an_error(key, monkeypatch):
    monkeypatch.setenv("SYSTEM_SEMAPHORE_QT", "steam")
    sem = QSystemSemaphore(key)
    assert sem.error() is QSystemSemaphore.KeyError
    assert "SYSTEM_SEMAPHORE_QT" in sem.errorString()


def test_native_keys(key):
    native = QNativeIpcKey("/" + key)
    assert native.type() is QNativeIpcKey.DefaultTypeForOs is QNativeIpcKey.Type.PosixRealtime
    assert native == QNativeIpcKey.fromString(f"posix:/{key}") == copy.copy(native) == QNativeIpcKey(native) == f"/{key}"
    assert native != QNativeIpcKey("/" + key, QNativeIpcKey.SystemV)
    assert hash(native) == hash(QNativeIpcKey("/" + key, type=QNativeIpcKey.PosixRealtime))
    assert native.toString() == f"posix:/{key}"
    native.setType(QNativeIpcKey.SystemV)
    assert native.toString() == f"systemv:/{key}"
    native.setNativeKey("z")
    other = QNativeIpcKey()
    native.swap(other)
    assert (other.nativeKey(), native.isEmpty(), native.isValid()) == ("z", True, True)
    invalid = QNativeIpcKey.fromString("x")
    assert not invalid.isValid()
    assert (invalid.type().value, repr(invalid.type())) == (0, "<Type.0: 0>")
    assert QNativeIpcKey.fromString("systemv-5:/x").type() is QNativeIpcKey.Type(5)
    assert QNativeIpcKey.legacyDefaultTypeForOs() is QNativeIpcKey.SystemV
    legacy = QSystemSemaphore.legacyNativeKey(key)
    assert legacy.toString().startswith(f"systemv:{os.environ['TMPDIR']}/qipc_systemsem_pytest")
    sem = QSystemSemaphore(legacy, 3)
    assert sem.nativeIpcKey() == legacy
    assert sem.key() == key
    sem.setNativeKey("/" + key, 4, QSystemSemaphore.Open, QNativeIpcKey.PosixRealtime)
    assert (sem.key(), sem.nativeIpcKey()) == ("", QNativeIpcKey("/" + key))
    assert sem.available() == 4
    assert str(NativeKey.parse(legacy.toString())) == legacy.toString()


@pytest.mark.parametrize(
    "call",
    [
        lambda sem: QSystemSemaphore(),
        lambda sem: QSystemSemaphore(5),
        lambda sem: QSystemSemaphore("x", "3"),
        lambda sem: QSystemSemaphore("x", 3, 1),
        lambda sem: sem.release("1"),
        lambda sem: sem.release(None),
        lambda sem: sem.release(1, 2),
        lambda sem: QSystemSemaphore.isKeyTypeSupported(81),
        lambda sem: QNativeIpcKey(81),
        lambda sem: QNativeIpcKey("a", 81),
    ],
)
def test_what_pyside_refuses(call, key):
    with pytest.raises(TypeError):
        call(QSystemSemaphore(key))


def test_ctrl_c(key, child, engine):
    sem = QSystemSemaphore(key, 0)
    waiter = child(
        """if True:
        import sys
        from system_semaphore.qt import QSystemSemaphore
        sem = QSystemSemaphore(sys.argv[1])
        print("ready", flush=True)
        try:
            sem.acquire()
        except KeyboardInterrupt:
            print("interrupted", sem.error().name, flush=True)
        """,
        key,
    )
    assert waiter.line() == "ready"
    until(waiter.sleeps, "its sleep")
    waiter.signal(signal.SIGINT)
    assert waiter.line() == "interrupted NoError"
    assert waiter.end() == 0
    assert sem.error() == QSystemSemaphore.NoError
