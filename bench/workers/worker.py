"""A process that is measured: what bench/src/worker/mod.rs is in Rust, for semaphores used from Python.

`worker.py NAME`. A contestant has `make(key, value)`, `open(key)` and `remove(key)`, and of what those return the ways to take a
permit and to give one.
"""

import sys
import time
from time import clock_gettime_ns, monotonic_ns


def cpu_time():
    return clock_gettime_ns(time.CLOCK_PROCESS_CPUTIME_ID)


class Handle:
    """A semaphore's `acquire` and `release`, looked up once, and what else there is to be done."""

    def __init__(self, acquire, release, take=None, close=lambda: None):
        self.acquire = acquire
        self.release = release
        # for good, as a consumer does, and what a producer creates
        self.take, self.give = take or (acquire, release)
        self.close = close


def ours():
    from system_semaphore import Semaphore

    def handle(semaphore):
        def take():
            semaphore.acquire()
            semaphore.forget_detached()

        return Handle(semaphore.acquire, semaphore.release, (take, semaphore.add_permits))

    return (
        lambda key, value: handle(Semaphore(key, value, mode="create_new")),
        lambda key: handle(Semaphore(key, mode="open_existing")),
        lambda key: None,  # it is gone with its maker's last handle
    )


def multiprocessing():
    """Its Semaphore's `acquire` and `release` are those of this; so it can be opened by name."""
    from _multiprocessing import SemLock, sem_unlink

    counting, most = 1, 2**31 - 1

    def handle(semaphore):
        return Handle(semaphore.acquire, semaphore.release)

    return (
        lambda key, value: handle(SemLock(counting, value, most, f"/{key}", False)),
        lambda key: handle(SemLock._rebuild(0, counting, most, f"/{key}")),
        lambda key: sem_unlink(f"/{key}"),
    )


def posix_ipc():
    from posix_ipc import O_CREX, Semaphore, unlink_semaphore

    def handle(semaphore):
        return Handle(semaphore.acquire, semaphore.release, close=semaphore.close)

    return (
        lambda key, value: handle(Semaphore(f"/{key}", O_CREX, initial_value=value)),
        lambda key: handle(Semaphore(f"/{key}")),
        lambda key: unlink_semaphore(f"/{key}"),
    )


def sysv_ipc():
    from hashlib import sha1

    from sysv_ipc import IPC_CREX, Semaphore

    def number(key):
        return int.from_bytes(sha1(key.encode()).digest()[:4], "big") >> 1 | 1

    def handle(semaphore):
        semaphore.undo = True
        return Handle(semaphore.acquire, semaphore.release)

    return (
        lambda key, value: handle(Semaphore(number(key), IPC_CREX, initial_value=value)),
        lambda key: handle(Semaphore(number(key))),
        lambda key: Semaphore(number(key)).remove(),
    )


def pyside6(type_name):
    from PySide6.QtCore import QNativeIpcKey, QSystemSemaphore

    key_type = getattr(QNativeIpcKey.Type, type_name)

    def qt(key, value, mode):
        native = QSystemSemaphore.platformSafeKey(key, key_type)
        semaphore = QSystemSemaphore(native, value, mode)
        if semaphore.error() != QSystemSemaphore.SystemSemaphoreError.NoError:
            raise OSError(semaphore.errorString())
        return Handle(semaphore.acquire, semaphore.release)

    return (
        lambda key, value: qt(key, value, QSystemSemaphore.AccessMode.Create),
        lambda key: qt(key, 0, QSystemSemaphore.AccessMode.Open),
        lambda key: None,  # it is gone with its maker
    )


def our_qt():
    from system_semaphore.qt import QSystemSemaphore

    def qt(key, value, mode):
        semaphore = QSystemSemaphore(key, value, mode)
        if semaphore.error() != QSystemSemaphore.NoError:
            raise OSError(semaphore.errorString())
        return Handle(semaphore.acquire, semaphore.release)

    return (
        lambda key, value: qt(key, value, QSystemSemaphore.Create),
        lambda key: qt(key, 0, QSystemSemaphore.Open),
        lambda key: None,  # it is gone with its maker
    )


def portalocker():
    import glob
    import os
    import tempfile

    from portalocker import NamedBoundedSemaphore

    values = {}

    def handle(key, value):
        # the largest number of holders is no property of what is shared
        semaphore = NamedBoundedSemaphore(value, name=key, timeout=60)
        return Handle(semaphore.acquire, semaphore.release)

    def make(key, value):
        values[key] = value
        return handle(key, value)

    def remove(key):
        for path in glob.glob(os.path.join(tempfile.gettempdir(), f"{key}.*.lock")):
            os.unlink(path)

    return make, lambda key: handle(key, values.get(key, 1)), remove


CONTESTANTS = {
    "ours": ours,
    "multiprocessing": multiprocessing,
    "posix_ipc": posix_ipc,
    "sysv_ipc": sysv_ipc,
    "pyside6-system-v": lambda: pyside6("SystemV"),
    "pyside6-posix": lambda: pyside6("PosixRealtime"),
    "our-qt": our_qt,
    "portalocker": portalocker,
}


def many(key, count):
    """The keys of so many semaphores; that of the first is as given."""
    return [f"{key}-{number}" if number else key for number in range(int(count))]


def measure(milliseconds, operation):
    """Nanoseconds of CPU time an operation: as many as take about the time asked for, after some to warm up.

    `operation(times)` does it so often.
    """
    times = 16
    while True:
        begin = cpu_time()
        operation(times)
        taken = cpu_time() - begin
        if taken >= int(milliseconds) * 500_000:
            return taken / times
        times *= 2


def repeat_pair(handle):
    acquire, release = handle.acquire, handle.release

    def operation(times):
        for _ in range(times):
            acquire()
            release()

    return operation


def sleep_until(moment):
    time.sleep(max(0, int(moment) - monotonic_ns()) / 1e9)


class Worker:
    def __init__(self, contestant):
        self.make_one, self.open_one, self.remove_one = contestant
        self.handles = []
        # the keys of those that are removed at the end
        self.made = []

    def make(self, key, count, value):
        for one in many(key, count):
            self.handles.append(self.make_one(one, int(value)))
            self.made.append(one)

    def open(self, key):
        self.handles.append(self.open_one(key))

    def open_many(self, key, count):
        self.handles += [self.open_one(key) for key in many(key, count)]

    def end(self):
        self.handles.clear()
        for key in self.made:
            self.remove_one(key)

    def pairs(self, milliseconds):
        return measure(milliseconds, repeat_pair(self.handles[0]))

    def open_close(self, key, milliseconds):
        def operation(times):
            for _ in range(times):
                self.open_one(key).close()

        return measure(milliseconds, operation)

    def create_remove(self, key, milliseconds):
        def operation(times):
            for _ in range(times):
                self.make_one(key, 1).close()
                self.remove_one(key)

        return measure(milliseconds, operation)

    def ping(self, times):
        mine, other = self.handles[0].take, self.handles[1].give
        begin = monotonic_ns()
        for _ in range(int(times)):
            other()
            mine()
        return (monotonic_ns() - begin) / int(times)

    def pong(self, times):
        self.pass_on(1, 0, times)

    def pass_on(self, source, target, times):
        take, give = self.handles[source].take, self.handles[target].give
        for _ in range(int(times)):
            take()
            give()

    def contend(self, start, duration):
        acquire, release = self.handles[0].acquire, self.handles[0].release
        end = int(start) + int(duration)
        sleep_until(start)
        pairs = 0
        while monotonic_ns() < end:
            for _ in range(64):
                acquire()
                release()
            pairs += 64
        return pairs

    def produce(self, start, items):
        sleep_until(start)
        self.pass_on(0, 1, items)
        return monotonic_ns()

    def consume(self, start, items):
        sleep_until(start)
        self.pass_on(1, 0, items)
        return monotonic_ns()

    def hold(self):
        self.handles[0].acquire()

    def unhold(self):
        self.handles[0].release()

    def wait(self):
        """When it had a permit, and the CPU time that it took to wait."""
        print("began", flush=True)
        begin = cpu_time()
        self.hold()
        end = monotonic_ns()
        return f"{end} {cpu_time() - begin}"


def serve():
    worker = Worker(CONTESTANTS[sys.argv[1]]())
    try:
        for line in sys.stdin:
            command, *arguments = line.split()
            answer = getattr(worker, command.replace("-", "_"))(*arguments)
            print("ok", "" if answer is None else answer, flush=True)
    finally:
        worker.end()


serve()
