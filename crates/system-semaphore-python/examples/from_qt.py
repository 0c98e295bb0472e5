"""A program that was written for PySide6; only its import line is another.

SYSTEM_SEMAPHORE_QT=robust in its environment makes its semaphore a crash-safe one.
"""

from system_semaphore.qt import QSystemSemaphore  # was: from PySide6.QtCore import QSystemSemaphore

sem = QSystemSemaphore("market", 3, QSystemSemaphore.Create)
# resources available == 3
sem.acquire()   # resources available == 2
sem.acquire()   # resources available == 1
sem.acquire()   # resources available == 0
sem.release()   # resources available == 1
sem.release(2)  # resources available == 3

sem = QSystemSemaphore("market", 5, QSystemSemaphore.Create)
sem.acquire(5)      # acquire all 5 resources
sem.release(5)      # release the 5 resources
sem.release(10)     # "create" 10 new resources
print("resources available:", sem.available())
