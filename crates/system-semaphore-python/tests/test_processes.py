"""The semaphore between processes: those of multiprocessing, however they are started, and deaths."""

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor

import pytest
from conftest import BOUND, until

from system_semaphore import Semaphore

METHODS = ["fork", "spawn", "forkserver"]
# Python warns of forking while threads run, which pytest's and pools' are
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def hold_until_told(sem, holding, may_end):
    with sem:
        holding.send(os.getpid())
        may_end.recv()


def acquire_and_end(sem):
    assert sem.acquire()


def acquire_and_forget(sem):
    with sem.permits() as permit:
        permit.forget()


def release_two(sem):
    sem.release(2)


def start(context, target, *arguments):
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def end(process):
    process.join(BOUND)
    assert process.exitcode == 0


@pytest.mark.parametrize("method", METHODS)
def test_it_can_be_passed_to_processes(key, any_type, method):
    context = multiprocessing.get_context(method)
    sem = Semaphore(key, 2, type=any_type)
    here, there = context.Pipe()
    process = start(context, hold_until_told, sem, there, there)
    assert here.poll(BOUND)
    assert here.recv() == process.pid
    assert sem.available == 1
    here.send("end")
    end(process)
    assert sem.available == 2
    end(start(context, release_two, sem))
    assert sem.available == 4


@pytest.mark.parametrize("method", METHODS)
def test_what_a_process_acquired_comes_back_at_its_end_unless_it_forgets(key, method):
    context = multiprocessing.get_context(method)
    sem = Semaphore(key, 2)
    end(start(context, acquire_and_end, sem))
    until(lambda: sem.available == 2, "the return")
    end(start(context, acquire_and_forget, sem))
    assert sem.available == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_process_gives_back_and_waiters_wake(key, method):
    context = multiprocessing.get_context(method)
    sem = Semaphore(key, 1)
    here, there = context.Pipe()
    process = start(context, hold_until_told, sem, there, there)
    assert here.poll(BOUND)
    holder = here.recv()
    assert [(one.pid, one.permits) for one in sem.holders()] == [(holder, 1)]
    assert not sem.acquire(False)
    os.kill(holder, signal.SIGKILL)
    assert sem.acquire(timeout=BOUND)
    sem.release()
    assert sem.recoveries == 1
    process.join(BOUND)


GATE = None


def take_gate(gate):
    global GATE
    GATE = gate


def work(number):
    """One in four dies with the permit, as multiprocessing.Semaphore would not survive."""
    with GATE:
        if number % 4 == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return number


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_survives_workers_that_are_killed_holding(key, method):
    gate = Semaphore(key, 2)
    context = multiprocessing.get_context(method)
    done, deaths = set(), 0
    for number in range(12):
        with ProcessPoolExecutor(2, context, initializer=take_gate, initargs=(gate,)) as pool:
            try:
                done.add(pool.submit(work, number).result(BOUND))
            except Exception:
                deaths += 1
    assert (done, deaths) == ({n for n in range(12) if n % 4 != 3}, 3)
    # all of them at once: no permit is lost
    assert gate.acquire(timeout=BOUND, n=2)
    gate.release(2)
    assert (gate.available, gate.recoveries) == (2, 3)


def die_in_pool(_):
    with GATE:
        os.kill(os.getpid(), signal.SIGKILL)


def test_it_replaces_multiprocessings_in_a_pool(key):
    """multiprocessing.Pool starts other workers for those that die; with a semaphore of its own they would wait for ever."""
    gate = Semaphore(key, 2)
    with multiprocessing.get_context("fork").Pool(4, take_gate, (gate,)) as pool:
        for number in (3, 7, 11, 15):
            pool.apply_async(die_in_pool, (number,))
        until(lambda: gate.recoveries == 4, "four deaths")
        results = [pool.apply_async(os.getpid) for _ in range(8)]
        numbers = [pool.apply_async(work, (n,)) for n in (0, 1, 2, 4, 5, 6)]
        assert [one.get(BOUND) for one in numbers] == [0, 1, 2, 4, 5, 6]
        assert all(one.get(BOUND) for one in results)
    assert gate.acquire(timeout=BOUND, n=2)
    gate.release(2)


def fork(action):
    """Runs it in a forked child, without the end of a Python process, and tells how it exited."""
    child = os.fork()
    if child == 0:
        try:
            action()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_owns_nothing(key, any_type):
    sem = Semaphore(key, 5, type=any_type)
    sem.acquire()
    permit = sem.permits()
    with sem:

        def child():
            assert sem.available == 2
            assert (sem.detached, permit.num_permits) == (0, 0)
            permit.release()
            permit.forget()
            sem.__exit__(None, None, None)
            assert sem.available == 2
            # but it can use what it inherited
            with sem:
                assert sem.available == 1

        assert fork(child) == 0
        assert sem.available == 2
    assert (sem.available, sem.detached, permit.num_permits) == (3, 1, 1)
    permit.release()
    sem.release()
    assert sem.available == 5


def test_a_forked_child_that_ends_normally_removes_nothing(key, any_type, child):
    program = child(
        """if True:
        import os, sys
        from system_semaphore import Semaphore
        sem = Semaphore(sys.argv[1], 3, type=sys.argv[2])
        pid = os.fork()
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
            print(Semaphore(sys.argv[1], type=sys.argv[2], mode="open_existing").available, flush=True)
        else:
            sem.acquire()
            sem.release()
        """,
        key,
        any_type,
    )
    assert program.line() == "3"
    assert program.end() == 0


def test_the_interpreters_end_removes_it(key, any_type, child):
    program = child(
        "import sys; from system_semaphore import *; s = Semaphore(sys.argv[1], 3, type=sys.argv[2])", key, any_type
    )
    assert program.end() == 0
    # the fixture looks for what is left
