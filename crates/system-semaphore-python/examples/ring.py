"""Two producers and two consumers share a ring in shared memory: one semaphore counts its free places, one the used.

Who takes a place and fills it forgets its permit: the place stays taken until a consumer creates one by add_permits. If a
process is killed before that, its permit comes back and no place is lost.
"""

import multiprocessing
import os
import struct
from multiprocessing.shared_memory import SharedMemory

from system_semaphore import Semaphore

PLACES, ITEMS, SIDES = 16, 2_000, 2
NUMBER = struct.Struct("Q")
HEAD, TAIL, FIRST = 0, 1, 2  # what the numbers in the memory are


class Ring:
    """Pickled, it goes to other processes: the semaphores by their keys, the memory by its name."""

    def __init__(self, name):
        self.free = Semaphore(f"{name}-free", PLACES)
        self.used = Semaphore(f"{name}-used", 0)
        self.turn = Semaphore(f"{name}-turn", 1)
        self.memory = SharedMemory(create=True, size=NUMBER.size * (FIRST + PLACES))

    def put(self, value):
        with self.free.permits() as place:
            with self.turn:
                self._write(FIRST + self._next(HEAD), value)
            place.forget()
            self.used.add_permits()

    def get(self):
        with self.used.permits() as item:
            with self.turn:
                value = self._read(FIRST + self._next(TAIL))
            item.forget()
            self.free.add_permits()
        return value

    def _next(self, end):
        index = self._read(end)
        self._write(end, (index + 1) % PLACES)
        return index

    def _read(self, index):
        return NUMBER.unpack_from(self.memory.buf, index * NUMBER.size)[0]

    def _write(self, index, value):
        NUMBER.pack_into(self.memory.buf, index * NUMBER.size, value)


def produce(ring, first):
    for value in range(first, first + ITEMS):
        ring.put(value)


def consume(ring, sums):
    sums.put(sum(ring.get() for _ in range(ITEMS)))


def main():
    ring = Ring(f"example-ring-{os.getpid()}")
    sums = multiprocessing.SimpleQueue()
    workers = [multiprocessing.Process(target=produce, args=(ring, n * ITEMS)) for n in range(SIDES)]
    workers += [multiprocessing.Process(target=consume, args=(ring, sums)) for _ in range(SIDES)]
    for worker in workers:
        worker.start()
    total = sum(sums.get() for _ in range(SIDES))
    for worker in workers:
        worker.join()
    ring.memory.close()
    ring.memory.unlink()
    print(f"{SIDES * ITEMS} items passed, their sum is {total}")
    assert total == sum(range(SIDES * ITEMS))
    assert (ring.free.available, ring.used.available) == (PLACES, 0)


if __name__ == "__main__":
    main()
