"""Plays the puppet of crates/test-support with Qt's own QSystemSemaphore.

Commands and answers are words between tabs, as crates/test-support describes; beyond those, `derive FN NAME TYPE` and
`parse TEXT` ask about keys, and `shm-open`, `shm-lock`, `shm-unlock` use a QSharedMemory.
"""

import base64
import gc
import os
import sys

from PySide6.QtCore import QNativeIpcKey, QSharedMemory, QSystemSemaphore

MODES = {"Open": QSystemSemaphore.AccessMode.Open, "Create": QSystemSemaphore.AccessMode.Create}
handles = {}


class Failed(Exception):
    """An answer of `error`."""

    def __init__(self, qt_object):
        super().__init__(f"error\t{qt_object.error().value}\t{qt_object.errorString()}")


def say(line):
    print(line, flush=True)


def key_of(text):
    """A plain name as it is, or a native key."""
    name = text.removeprefix("name=")
    return name if name != text else QNativeIpcKey.fromString(text)


def open_semaphore(handle, key, initial, mode):
    semaphore = QSystemSemaphore(key_of(key), int(initial), MODES[mode])
    if semaphore.error() != QSystemSemaphore.SystemSemaphoreError.NoError:
        raise Failed(semaphore)
    handles[handle] = semaphore


def repeat(handle, operation, times):
    """How many times it worked, and the error that ended it."""
    for done in range(int(times)):
        if not operation(handles[handle]):
            return f"{done} {handles[handle].error().value}"
    return times


def must(qt_object, worked):
    if not worked:
        raise Failed(qt_object)
    return ""


def acquire(handle, _count="1"):
    say("began")
    return must(handles[handle], handles[handle].acquire())


def release(handle, count):
    say("began")
    return must(handles[handle], handles[handle].release(int(count)))


def close(handle):
    del handles[handle]
    gc.collect()
    return ""


def pass_items(source, target, items):
    for _ in range(int(items)):
        must(handles[source], handles[source].acquire())
        must(handles[target], handles[target].release(1))
    return ""


def key_type(number):
    return QNativeIpcKey.Type(int(number))


def describe(key):
    if not key.isValid():
        return "invalid"
    return f"{encode(key.nativeKey())} {encode(key.toString())}"


def encode(text):
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode() or "-"


def decode(text):
    return "" if text == "-" else base64.b64decode(text).decode("utf-8")


def shm_open(handle, key):
    memory = QSharedMemory(key_of(key))
    if not memory.create(16):
        raise Failed(memory)
    handles[handle] = memory


def shm_lock(handle):
    say("began")
    return must(handles[handle], handles[handle].lock())


COMMANDS = {
    "open": open_semaphore,
    "acquire": acquire,
    "release": release,
    "acquires": lambda handle, times: repeat(handle, QSystemSemaphore.acquire, times),
    "releases": lambda handle, times: repeat(handle, QSystemSemaphore.release, times),
    "close": close,
    "pass": pass_items,
    "native": lambda handle: handles[handle].nativeIpcKey().toString(),
    "derive": lambda function, name, number: describe(
        getattr(QSystemSemaphore, function)(decode(name), key_type(number))
    ),
    "parse": lambda text: describe(QNativeIpcKey.fromString(decode(text))),
    "shm-open": shm_open,
    "shm-lock": shm_lock,
    "shm-unlock": lambda handle: must(handles[handle], handles[handle].unlock()),
    # without the objects being destroyed, as a program that is cut off
    "exit": lambda: os._exit(0),
}

for line in sys.stdin:
    command, *arguments = line.rstrip("\n").split("\t")
    try:
        value = COMMANDS[command](*arguments)
        say(f"ok\t{value}" if value else "ok")
    except Failed as failed:
        say(str(failed))
