"""Ctrl+C ends a wait, and at once."""

import signal
import time

import pytest
from conftest import until

from system_semaphore import Semaphore

WAIT = """if True:
    import signal, sys, time
    from system_semaphore import Semaphore
    sem = Semaphore(sys.argv[1], 0, type=sys.argv[2])
    print("ready", flush=True)
    try:
        {wait}
    except KeyboardInterrupt:
        print(time.monotonic_ns(), flush=True)
    print(sem.detached, flush=True)
"""
WAITS = [
    "sem.acquire()",
    "sem.acquire(timeout=50)",
    "sem.permits()",
    "sem.__enter__()",
]


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c(key, any_type, wait, child):
    sem = Semaphore(key, 0, type=any_type)
    waiter = child(WAIT.format(wait=wait), key, any_type)
    assert waiter.line() == "ready"
    until(waiter.sleeps, "its sleep")
    sent = time.monotonic_ns()
    waiter.signal(signal.SIGINT)
    took = (int(waiter.line()) - sent) / 1e6
    print(f"{wait} on {any_type}: interrupted after {took:.1f} ms")
    # it takes a millisecond; the bound is for machines that are busy
    assert took < 5_000
    assert waiter.line() == "0"
    assert waiter.end() == 0
    assert sem.available == 0


def test_a_handler_that_raises_nothing_does_not_end_the_wait(key, any_type, child):
    sem = Semaphore(key, 0, type=any_type)
    waiter = child(
        """if True:
        import signal, sys
        from system_semaphore import Semaphore
        signal.signal(signal.SIGUSR1, lambda number, frame: print("handled", flush=True))
        sem = Semaphore(sys.argv[1], 0, type=sys.argv[2])
        print("ready", flush=True)
        print(sem.acquire(), flush=True)
        """,
        key,
        any_type,
    )
    assert waiter.line() == "ready"
    for _ in range(3):
        until(waiter.sleeps, "its sleep")
        waiter.signal(signal.SIGUSR1)
        assert waiter.line() == "handled"
    sem.release()
    assert waiter.line() == "True"
    assert waiter.end() == 0


def test_other_threads_run_while_the_main_thread_waits(key, any_type, child):
    sem = Semaphore(key, 0, type=any_type)
    waiter = child(
        """if True:
        import sys, threading
        from system_semaphore import Semaphore
        sem = Semaphore(sys.argv[1], 0, type=sys.argv[2])
        def echo():
            for line in sys.stdin:
                print("echo", flush=True)
        threading.Thread(target=echo).start()
        print("ready", flush=True)
        print(sem.acquire(), flush=True)
        """,
        key,
        any_type,
    )
    assert waiter.line() == "ready"
    until(waiter.sleeps, "its sleep")
    for _ in range(10):
        waiter.tell()
        assert waiter.line() == "echo"
    sem.release()
    assert waiter.line() == "True"
    assert waiter.end() == 0
