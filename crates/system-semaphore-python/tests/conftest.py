"""What the tests share: keys of their own, other processes, and a look at what they left behind."""

import gc
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

import system_semaphore
from system_semaphore import Semaphore

BOUND = 60
_NUMBERS = itertools.count()


def until(condition, what="the condition"):
    """Waits for a condition, which must come true."""
    end = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < end, f"{what} did not come true"
        time.sleep(0.002)


def sleeps(pid):
    """Whether the main thread of a process is in a wait that has no other end than a signal or a wake-up."""
    waiting = Path(f"/proc/{pid}/task/{pid}/wchan").read_text()
    return any(word in waiting for word in ("futex", "semtimedop", "semop"))


class Child:
    """A Python process that runs this code, and is killed if it is there too long."""

    def __init__(self, code, *arguments, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.limit = threading.Timer(BOUND, self.process.kill)
        self.limit.start()

    @property
    def pid(self):
        return self.process.pid

    def line(self):
        return self.process.stdout.readline().strip()

    def tell(self, line=""):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def sleeps(self):
        return sleeps(self.pid)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.process.wait(BOUND)

    def end(self):
        """Its exit status; its input is closed first."""
        self.process.stdin.close()
        return self.process.wait(BOUND)


@pytest.fixture
def child(key):
    """Starts children. They have ended before `key` lists what the test left."""
    children = []

    def start(code, *arguments, **environment):
        children.append(Child(code, *arguments, **environment))
        return children[-1]

    yield start
    for one in children:
        one.limit.cancel()
        one.limit.join()
        if one.process.poll() is None:
            one.kill()
        one.process.stdout.close()
        one.process.stdin.close()


@pytest.fixture
def key(request):
    """A plain name that nobody else has. What is left under it afterwards is an error."""
    name = f"pytest-{os.getpid()}-{next(_NUMBERS)}"
    yield name
    # a thread that still runs may keep a handle, and would close it while this lists and removes
    threads = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    assert not threads, f"{request.node.name} left threads: {threads}"
    # exceptions keep the variables of a test that caught them
    gc.collect()
    left = [listed.native_key for listed in system_semaphore.list() if name in str(listed.native_key)]
    for native_key in left:
        Semaphore.remove(native_key)
    assert not left, f"{request.node.name} left {left}"


@pytest.fixture(params=["robust", "systemv", "posix"])
def any_type(request):
    return request.param


@pytest.fixture(scope="session", autouse=True)
def home():
    """A temporary and runtime directory of their own, in which nothing may be left."""
    with tempfile.TemporaryDirectory(prefix="system-semaphore-pytest-") as directory:
        os.environ["TMPDIR"] = os.environ["XDG_RUNTIME_DIR"] = directory
        yield Path(directory)
        assert os.listdir(directory) == []
