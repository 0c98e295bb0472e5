"""The semaphore within one process."""

import copy
import os
import pickle
import threading
import weakref

import pytest
from conftest import sleeps, until

import system_semaphore
from system_semaphore import NativeKey, Semaphore


def test_acquire_and_release(key, any_type):
    sem = Semaphore(key, 3, type=any_type)
    assert sem.acquire()
    assert sem.acquire(False)
    assert sem.acquire(timeout=60)
    assert (sem.available, sem.detached) == (0, 3)
    assert not sem.acquire(blocking=False)
    assert not sem.acquire(timeout=0.01)
    assert not sem.acquire(True, 0)
    assert not sem.acquire(timeout=-1)
    sem.release()
    assert (sem.available, sem.get_value(), sem.detached) == (1, 1, 2)
    sem.release(2)
    assert (sem.available, sem.detached) == (3, 0)


def test_several_at_once_are_all_or_none(key):
    sem = Semaphore(key, 3)
    assert sem.acquire(n=2)
    assert not sem.acquire(False, n=2)
    assert sem.available == 1
    assert not sem.acquire(timeout=0.01, n=2)
    sem.release(2)
    assert sem.acquire(n=3)
    sem.release(3)


def test_release_gives_back_and_then_creates(key):
    sem = Semaphore(key, 1)
    assert sem.acquire()
    sem.release(10)
    assert (sem.available, sem.detached) == (10, 0)
    sem.acquire()
    sem.add_permits(5)
    assert (sem.available, sem.detached) == (14, 1)
    sem.release()


@pytest.mark.parametrize("semaphore", [Semaphore, type("Derived", (Semaphore,), {})])
def test_arguments_by_position_and_by_name(key, semaphore):
    sem = semaphore(key, 9)
    sem.acquire()
    sem.release()
    for acquire, n in [
        (lambda: sem.acquire(True), 1),
        (lambda: sem.acquire(True, None, 2), 2),
        (lambda: sem.acquire(False, n=2), 2),
        (lambda: sem.acquire(n=3, timeout=1, blocking=True), 3),
        (lambda: semaphore.acquire(sem, timeout=0.5), 1),
    ]:
        assert acquire() is True
        assert (sem.available, sem.detached) == (9 - n, n)
        assert (sem.release(n) if n > 1 else sem.release(n=n)) is None
        assert (sem.available, sem.detached) == (9, 0)


def test_forget(key):
    sem = Semaphore(key, 3)
    sem.acquire(n=2)
    assert sem.forget_detached(5) == 2
    assert (sem.available, sem.detached) == (1, 0)


def test_value_is_1_unless_said(key):
    assert Semaphore(key).available == 1


def test_with(key, any_type):
    sem = Semaphore(key, 2, type=any_type)
    with sem as entered:
        assert entered is True
        with sem:
            assert sem.available == 0
        assert sem.available == 1
    assert sem.available == 2
    with pytest.raises(RuntimeError, match="inside"), sem:
        raise RuntimeError("inside")
    assert sem.available == 2


def test_with_after_a_reset_gives_back_nothing(key):
    sem = Semaphore(key, 2)
    with sem:
        Semaphore(key, 5, mode="create")
    assert sem.available == 5


def test_permits(key):
    sem = Semaphore(key, 5)
    with sem.permits(3, timeout=1) as permit:
        assert (permit.num_permits, sem.available, sem.detached) == (3, 2, 0)
        with permit.split(1) as one:
            assert (permit.num_permits, one.num_permits) == (2, 1)
        assert sem.available == 3
        with pytest.raises(ValueError):
            permit.split(3)
    assert (permit.num_permits, sem.available) == (0, 5)
    permit.release()
    assert sem.available == 5
    with sem.permits() as permit:
        permit.detach()
    assert (sem.detached, sem.available) == (1, 4)
    sem.release()
    with sem.permits(2) as permit:
        permit.forget()
    assert (sem.detached, sem.available) == (0, 3)


def test_permits_that_nobody_keeps_go_back(key):
    sem = Semaphore(key, 1)
    permit = sem.permits()
    assert sem.available == 0
    del permit
    assert sem.available == 1


def test_permits_keep_the_semaphore(key):
    permit = Semaphore(key, 1, mode="create_new").permits()
    assert Semaphore(key, mode="open_existing").available == 0
    permit.release()


def test_permits_time_out(key):
    sem = Semaphore(key, 0)
    with pytest.raises(TimeoutError) as raised:
        sem.permits(timeout=0.01)
    assert isinstance(raised.value, system_semaphore.TimedOutError)
    assert isinstance(raised.value, OSError)
    with pytest.raises(system_semaphore.NoPermitsError):
        sem.permits(timeout=0)


def test_who_holds_and_who_waits(key, child):
    sem = Semaphore(key, 1)
    assert sem.holders() == []
    sem.acquire()
    (holder,) = sem.holders()
    assert (holder.pid, holder.permits) == (os.getpid(), 1)
    waiter = child("import sys; from system_semaphore import *; Semaphore(sys.argv[1]).acquire()", key)
    until(lambda: sem.waiting == 1, "a waiter")
    (listed,) = [listed for listed in system_semaphore.list() if listed.name == key]
    assert (listed.type, listed.available, listed.waiting) == ("robust", 0, 1)
    assert (listed.owner, listed.native_key) == (os.getuid(), NativeKey.parse(f"robust:{key}"))
    sem.release()
    assert waiter.end() == 0
    assert sem.available == 1


def test_other_threads_run_while_one_waits(key, any_type):
    """PySide6 6.12 would wait for ever here."""
    sem = Semaphore(key, 0, type=any_type)

    def release_to_a_sleeper():
        until(lambda: sleeps(os.getpid()), "the main thread's sleep")
        sem.release()

    for acquire in (sem.acquire, lambda: sem.permits().release()):
        releaser = threading.Thread(target=release_to_a_sleeper)
        releaser.start()
        acquire()
        # it keeps the semaphore until its end
        releaser.join()
    assert sem.available == 1


def test_modes(key):
    with pytest.raises(system_semaphore.NotFoundError):
        Semaphore(key, mode="open_existing")
    sem = Semaphore(key, 2, mode="create_new")
    with pytest.raises(FileExistsError):
        Semaphore(key, mode="create_new")
    assert Semaphore(key, 7).available == 2
    assert Semaphore(key, 7, mode="create").available == 7
    assert sem.available == 7


def test_max_permits(key):
    sem = Semaphore(key, 1, max_permits=2)
    sem.release()
    with pytest.raises(system_semaphore.OutOfResourcesError):
        sem.release()
    assert sem.available == 2


def test_persistent_and_remove(key):
    Semaphore(key, 5, persistent=True).acquire(n=2)
    sem = Semaphore(key, 1)
    assert sem.available == 3
    Semaphore.remove(key)
    with pytest.raises(FileNotFoundError, match="was removed"):
        sem.acquire()
    with pytest.raises(FileNotFoundError):
        Semaphore.remove(key)
    Semaphore(key, type="posix", persistent=True)
    Semaphore.remove(key, type="posix")


def test_keys(key):
    sem = Semaphore(key)
    assert sem.key == key
    assert str(sem.native_key) == f"robust:{key}?legacyKey={key}"
    assert (sem.native_key.type, sem.native_key.name, sem.native_key.legacy_name) == ("robust", key, key)
    native = NativeKey(f"/{key}", "posix")
    assert native == NativeKey.parse(f"posix:/{key}") == system_semaphore.platform_safe_key(key, "posix")
    assert hash(native) == hash(NativeKey.parse(f"posix:/{key}"))
    assert native != NativeKey(f"/{key}", "systemv-5")
    assert pickle.loads(pickle.dumps(native)) == copy.deepcopy(native) == native
    other = Semaphore(native, 2)
    assert (other.key, other.available, native.legacy_name) == ("", 2, None)
    legacy = system_semaphore.legacy_native_key(key, "posix")
    assert legacy.legacy_name == key
    assert system_semaphore.is_key_type_supported("robust")
    assert not system_semaphore.is_key_type_supported("windows")


def test_pickled_it_is_the_same_semaphore(key, any_type):
    sem = Semaphore(key, 5, type=any_type)
    copies = [pickle.loads(pickle.dumps(sem, protocol)) for protocol in range(2, 6)] + [copy.copy(sem)]
    for one in copies:
        assert one.acquire(False)
    assert (sem.available, sem.detached) == (0, 5)
    sem.release(5)


def test_subclasses_and_weak_references(key):
    class Printers(Semaphore):
        pass

    printers = Printers(key, 3)
    assert weakref.ref(printers)() is printers
    assert "robust:" in repr(printers)


def test_a_daemon_thread_may_wait_at_the_end(key, child):
    waiter = child(
        """if True:
        import sys, threading
        from system_semaphore import Semaphore
        sem = Semaphore(sys.argv[1], 0)
        threading.Thread(target=sem.acquire, daemon=True).start()
        print(flush=True)
        sys.stdin.read()
        """,
        key,
    )
    sem = Semaphore(key, 0)
    waiter.line()
    until(lambda: sem.waiting == 1, "a waiter")
    assert waiter.end() == 0


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda sem, key: Semaphore(), TypeError),
        (lambda sem, key: Semaphore(5), TypeError),
        (lambda sem, key: Semaphore(key, "3"), TypeError),
        (lambda sem, key: Semaphore(key, -1), ValueError),
        (lambda sem, key: Semaphore(key, 2**31, mode="create"), system_semaphore.OutOfResourcesError),
        (lambda sem, key: Semaphore(key, 2**40), ValueError),
        (lambda sem, key: Semaphore(key, mode="destroy"), ValueError),
        (lambda sem, key: Semaphore(key, type="mutex"), ValueError),
        (lambda sem, key: Semaphore(key, type="posix:/x"), ValueError),
        (lambda sem, key: Semaphore(NativeKey("/x", "posix"), type="robust"), ValueError),
        (lambda sem, key: Semaphore(""), ValueError),
        (lambda sem, key: Semaphore("a\0b"), system_semaphore.InvalidKeyError),
        (lambda sem, key: Semaphore(key, type="windows"), system_semaphore.InvalidKeyError),
        (lambda sem, key: Semaphore(key, type="posix", max_permits=5), system_semaphore.UnsupportedError),
        (lambda sem, key: NativeKey.parse("market"), ValueError),
        (lambda sem, key: sem.acquire(n=0), ValueError),
        (lambda sem, key: sem.acquire(n=-1), ValueError),
        (lambda sem, key: sem.acquire(n=2**40), OverflowError),
        (lambda sem, key: sem.acquire(n=2**31), system_semaphore.OutOfResourcesError),
        (lambda sem, key: sem.acquire(n=1.5), TypeError),
        (lambda sem, key: sem.acquire(False, 1), ValueError),
        (lambda sem, key: sem.acquire(timeout=float("nan")), ValueError),
        (lambda sem, key: sem.acquire(timeout="1"), TypeError),
        (lambda sem, key: sem.acquire(True, None, 1, 1), TypeError),
        (lambda sem, key: sem.acquire(True, blocking=True), TypeError),
        (lambda sem, key: sem.acquire(block=True), TypeError),
        (lambda sem, key: sem.acquire(1), TypeError),
        (lambda sem, key: Semaphore.acquire(key), TypeError),
        (lambda sem, key: sem.release(1, n=1), TypeError),
        (lambda sem, key: sem.release("1"), TypeError),
        (lambda sem, key: sem.release(0), ValueError),
        (lambda sem, key: sem.add_permits(-1), ValueError),
        (lambda sem, key: sem.forget_detached(0), ValueError),
        (lambda sem, key: sem.permits(0), ValueError),
    ],
)
def test_errors(key, call, error):
    sem = Semaphore(key, 3)
    # so that nobody else has used it last: what can be done at once is
    sem.acquire()
    sem.release()
    with pytest.raises(error):
        call(sem, key)
    assert (sem.available, sem.detached) == (3, 0)


def test_an_error_says_what_was_tried(key):
    with pytest.raises(system_semaphore.SemaphoreError) as raised:
        Semaphore(key, mode="open_existing")
    assert raised.value.errno == 2
    assert raised.value.key == f"robust:{key}?legacyKey={key}"
    assert key in str(raised.value)


def test_infinite_and_very_long_timeouts(key):
    sem = Semaphore(key, 2)
    assert sem.acquire(timeout=float("inf"))
    assert sem.acquire(timeout=1e300)
    sem.release(2)
