#!/usr/bin/env python3
"""What Ctrl+C does to `syssem run` on Windows: under wine in a pseudo-terminal, where the key is typed.

usage: platforms/ctrl_c.py SYSSEM.EXE
"""

import os
import pty
import select
import signal
import sys
import time

PATIENCE = 60
CTRL_C = b"\x03"
# wine's cmd prints the question, and takes Ctrl+C for the end of the line
ASK = ["cmd", "/c", "set /p answer=there"]


class Terminal:
    """A program of Windows in a terminal of its own."""

    def __init__(self, *command):
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.execvp("wine", ["wine", *command])
        self.seen = b""
        self.deadline = time.monotonic() + PATIENCE

    def read(self, keys=b""):
        """Reads on, and types these keys again and again until something comes; whether there may be more."""
        while not select.select([self.descriptor], [], [], 0.2)[0]:
            if time.monotonic() > self.deadline:
                raise TimeoutError(f"after {PATIENCE} s, with {self.seen!r}")
            if keys:
                self.type(keys)
        try:
            data = os.read(self.descriptor, 4096)
        except OSError:
            return False
        self.seen += data
        return bool(data)

    def wait_for(self, text):
        # wine draws a screen, with its own moves between the words
        while text not in self.seen:
            if not self.read():
                raise EOFError(f"it ended without {text!r}: {self.seen!r}")

    def type(self, keys):
        os.write(self.descriptor, keys)

    def end(self, keys=b""):
        """Its exit code, after these keys."""
        while self.read(keys):
            pass
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = None
        os.close(self.descriptor)
        return code

    def kill(self):
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def it_is_the_command_that_ctrl_c_ends(syssem, terminals):
    """And syssem tells its exit code, after the permit is back."""
    holder = Terminal(syssem, "run", "ctrl-c", "-p", "2", "--", *ASK)
    terminals.append(holder)
    holder.wait_for(b"there")
    job = Terminal(syssem, "run", "ctrl-c", "-p", "2", "--", *ASK)
    terminals.append(job)
    job.wait_for(b"there")
    job.type(CTRL_C)
    assert job.end() == 0, "the command ended with 0, and so must syssem"
    next_one = Terminal(syssem, "run", "ctrl-c", "-n", "--", "cmd", "/c", "exit 5")
    terminals.append(next_one)
    assert next_one.end() == 5, "the permit is back"
    holder.type(b"\r\n")
    assert holder.end() == 0


def who_waits_for_a_permit_is_ended_by_ctrl_c(syssem, terminals):
    holder = Terminal(syssem, "run", "ctrl-c", "--", *ASK)
    terminals.append(holder)
    holder.wait_for(b"there")
    waiter = Terminal(syssem, "run", "ctrl-c", "--", "cmd", "/c", "echo ran")
    terminals.append(waiter)
    # again and again: a key that comes before the program is lost (its exit code is 0 under wine)
    waiter.end(CTRL_C)
    assert b"ran" not in waiter.seen, waiter.seen
    holder.type(b"\r\n")
    assert holder.end() == 0


def main():
    passed = failed = 0
    for case in (it_is_the_command_that_ctrl_c_ends, who_waits_for_a_permit_is_ended_by_ctrl_c):
        terminals = []
        try:
            case(sys.argv[1], terminals)
        except Exception as error:
            print(f"{case.__name__}: FAILED: {error!r}")
            failed += 1
        else:
            print(f"{case.__name__}: ok")
            passed += 1
        finally:
            for terminal in terminals:
                terminal.kill()
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
