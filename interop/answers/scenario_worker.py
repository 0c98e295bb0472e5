"""Does with QSystemSemaphore what lines on standard input say, and answers each with a line.

The first argument names the module that has the class: PySide6.QtCore or system_semaphore.qt. Fields are separated by tabs
and percent-encoded; an answer is the result, error() as a number, and errorString().
"""

import importlib
import os
import sys
from urllib.parse import quote, unquote

module = importlib.import_module(sys.argv[1])
QNativeIpcKey, QSystemSemaphore = module.QNativeIpcKey, module.QSystemSemaphore
Mode, Type = QSystemSemaphore.AccessMode, QNativeIpcKey.Type
objects = {}


def create(handle, *arguments):
    objects[handle] = QSystemSemaphore(*arguments)


def ints(texts):
    return [int(text) for text in texts]


def mode(number):
    return Mode(int(number))


def key_type(number):
    return Type(int(number))


def key_of(text):
    return QNativeIpcKey.fromString(text)


WITH_OBJECT = {
    "acquire": lambda a, *n: a.acquire(*ints(n)),
    "release": lambda a, *n: a.release(*ints(n)),
    "set-key": lambda a, name, initial, m: a.setKey(name, int(initial), mode(m)),
    "set-native-key": lambda a, text, initial, m: a.setNativeKey(key_of(text), int(initial), mode(m)),
    "set-native-key-text": lambda a, native, initial, m, t: a.setNativeKey(native, int(initial), mode(m), key_type(t)),
    "key": lambda a: a.key(),
    "native-key": lambda a: a.nativeIpcKey().toString(),
    "try-acquire": lambda a, n, timeout: a.tryAcquire(int(n), int(timeout)),
    "available": lambda a: a.available(),
    "forget": lambda a, n: a.forget(int(n)),
}
OTHERS = {
    "new": lambda h, name, initial, m: create(h, name, int(initial), mode(m)),
    "new-native": lambda h, text, initial, m: create(h, key_of(text), int(initial), mode(m)),
    "delete": lambda h: objects.pop(h) and None,
    "supported": lambda t: QSystemSemaphore.isKeyTypeSupported(key_type(t)),
    "platform-safe": lambda name, t: QSystemSemaphore.platformSafeKey(name, key_type(t)).toString(),
    "legacy": lambda name, t: QSystemSemaphore.legacyNativeKey(name, key_type(t)).toString(),
    "key-valid": lambda text: key_of(text).isValid(),
    "exit": lambda: os._exit(0),
}


def text(result):
    if result is None:
        return "-"
    return str(result).lower() if isinstance(result, bool) else quote(str(result), safe="")


for line in sys.stdin:
    command, *fields = [unquote(field) for field in line.rstrip("\n").split("\t")]
    if command in WITH_OBJECT:
        result = WITH_OBJECT[command](objects[fields[0]], *fields[1:])
    else:
        result = OTHERS[command](*fields)
    of = objects.get(fields[0]) if command in WITH_OBJECT or command.startswith("new") else None
    error, error_string = (of.error().value, of.errorString()) if of else (0, "")
    print(text(result), error, quote(error_string, safe=""), sep="\t", flush=True)
objects.clear()
