"""At most two of eight workers at once use something scarce, and a worker that is killed holding it harms nobody.

With multiprocessing.Semaphore in the place of Semaphore this waits for ever.
"""

import multiprocessing
import os
import signal

from system_semaphore import Semaphore

WORKERS, SCARCE = 8, 2


def work(printers, number, results):
    with printers:
        if number in (2, 5):
            os.kill(os.getpid(), signal.SIGKILL)
        results.put(number)


def main():
    multiprocessing.set_start_method("spawn")
    printers = Semaphore(f"example-pool-{os.getpid()}", SCARCE)
    results = multiprocessing.SimpleQueue()
    workers = [multiprocessing.Process(target=work, args=(printers, n, results)) for n in range(WORKERS)]
    for worker in workers:
        worker.start()
    done = sorted(results.get() for _ in range(WORKERS - 2))
    for worker in workers:
        worker.join()
    print(f"done: {done}; killed while they held a printer: {printers.recoveries}")
    assert done == [0, 1, 3, 4, 6, 7]
    with printers.permits(SCARCE, timeout=10) as permit:
        print(f"all {permit.num_permits} printers are there")


if __name__ == "__main__":
    main()
