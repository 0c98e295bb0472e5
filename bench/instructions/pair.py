"""The path of bench/instructions that is Python's: `pair.py DIRECTORY TIMES`, with the package in that directory."""

import os
import sys

sys.path.insert(0, sys.argv[1])

from system_semaphore import Semaphore

semaphore = Semaphore(f"instructions-{os.getpid()}", 3, mode="create_new")
acquire, release = semaphore.acquire, semaphore.release
for _ in range(int(sys.argv[2])):
    acquire()
    release()
