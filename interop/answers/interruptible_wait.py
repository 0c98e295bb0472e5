"""Waits in acquire, beside a thread that echoes lines, and prints how the wait ended.

The arguments are the module that has the class and a key.
"""

import importlib
import signal
import sys
import threading
import time

# who was started in the background ignores it
signal.signal(signal.SIGINT, signal.default_int_handler)
QSystemSemaphore = importlib.import_module(sys.argv[1]).QSystemSemaphore
sem = QSystemSemaphore(sys.argv[2], 0)


def echo():
    for _ in sys.stdin:
        print("echo", flush=True)


threading.Thread(target=echo, daemon=True).start()
print("ready", flush=True)
try:
    sem.acquire()
    # where a signal is only seen afterwards, it is seen here
    time.sleep(0)
    print("acquired", flush=True)
except KeyboardInterrupt:
    print("interrupted", time.monotonic_ns(), flush=True)
