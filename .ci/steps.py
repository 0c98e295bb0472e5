#!/usr/bin/env python3
"""Everything, from a clean checkout: what the README promises, then what needs more than Rust and a C compiler.

usage: .ci/run [STEP...]     all steps, or those named

Run as root on Debian. `.ci/run` calls this file. `.ci/setup` runs first and installs what the steps need; the steps download
nothing. The steps are in two lanes. The steps of one lane run one after the other: while one waits, the other lane computes.
Each step runs alone in namespaces of its own (`.ci/alone`), which also fails a step that leaves anything behind.
The output of a step is in target/ci/STEP.log and is printed when the step ends. The first failure ends the run.
The table of times is for people: nothing depends on it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "target/ci"

ENVIRONMENT = {
    # some tools fetch toolchains behind one's back
    "RUSTUP_DIST_SERVER": "http://127.0.0.1:9",
    # enough for a backtrace
    "CARGO_PROFILE_DEV_DEBUG": "line-tables-only",
    # nothing is built twice here
    "CARGO_INCREMENTAL": "0",
    "CARGO_TERM_PROGRESS_WHEN": "never",
}
# what `.ci/setup` has not installed is missing
OFFLINE = {"CARGO_NET_OFFLINE": "true", "PIP_NO_INDEX": "1"}

FORM = """
cargo fmt --check
cargo fmt --check --manifest-path verification/fuzz/Cargo.toml
cargo clippy --workspace --all-targets -- -D warnings
cargo clippy -p interleavings --all-targets --features explore -- -D warnings
RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps
"""
# that imports go one way, and that the check notices one that does not
LAYERS = """
cargo build --workspace --bin layers
target/debug/layers
target/debug/layers --plant
"""
# as their shells read them
COMPLETIONS = """
for shell in bash zsh fish; do
    target/debug/syssem completions $shell > $TMPDIR/completions.$shell
    $shell -n $TMPDIR/completions.$shell
    rm $TMPDIR/completions.$shell
done
echo '3 passed, 0 failed'
"""
# glibc creates a semaphore under another name first; a process that is killed at that moment leaves it. This /dev/shm is the step's own.
PORTABLE = """
platforms/run portable
find /dev/shm -maxdepth 1 -name 'sem.??????' -size -2 -print -delete
"""
ANSWERS = """
cargo build --release -p system-semaphore-c
g++ -std=c++17 -Icrates/system-semaphore-c/include crates/system-semaphore-c/tests/answers.cpp \\
    target/release/libsystem_semaphore_c.a -lpthread -ldl -lm -lgcc_s -o $TMPDIR/answers
interop/answers/run --cpp $TMPDIR/answers
rm $TMPDIR/answers
"""

# Cargo locks the directory of a profile while it builds there, and builds crates anew whose features differ: so builds of one
# profile are in one lane, and of the whole workspace where that can be.
LANES = [
    {
        "form": FORM,
        # with what this builds, the next five need little more
        "test": "cargo test --workspace",
        "layers": LAYERS,
        # README's command, but for --release: that would build what tests need once more
        "example": "cargo run --example ring_buffer -- Cargo.lock",
        # the main job, with kills at random points
        "ring": "RING_RUNS=200 cargo test --workspace --test ring_buffer random_deaths_lose_nothing",
        "completions": COMPLETIONS,
        # against the real Qt
        "qt": "cargo test --workspace --test qt",
        "check-platforms": "platforms/run check",
        "windows": "platforms/run windows",
        "i686": "platforms/run i686",
    },
    {
        # these two need no inotify, so `test` need not wait for them
        "instructions": "bench/instructions/run",
        "interleavings": "verification/run interleavings",
        # whether each contestant can be measured
        "bench": "bench/run --quick",
        "stepping": "verification/run stepping",
        "chaos": "verification/run chaos",
        "faults": "verification/run faults",
        "fuzz": "verification/run fuzz",
        # with what those have built of others' crates
        "defects": "verification/run defects",
    },
]
# for the lane that has nothing left, the longest first
LAST = {
    "models": "verification/run models",
    "aarch64": "platforms/run aarch64",
    # the engine over the second implementation of its platform
    "portable": PORTABLE,
    "c": "crates/system-semaphore-c/check",
    "python": "crates/system-semaphore-python/check",
    # the same answers from Qt, our Python class and our C++ class
    "answers": ANSWERS,
    # whether the check for what is left behind fails when it must
    "alone": ".ci/test-alone",
}
STEPS = {name: script for steps in (*LANES, LAST) for name, script in steps.items()}

# A user has 128 inotify instances, on the whole machine: some tests use them up, and others count on one. One at a time.
INOTIFY = {"test", "i686", "aarch64", "bench", "stepping", "chaos", "faults"}


@dataclass
class Done:
    name: str
    began: float
    wall: float
    processors: float
    status: int


class Run:
    """The steps that have ended, and those that run."""

    def __init__(self, begin: float, last: list[str]):
        self.begin = begin
        self.last = last
        self.lock = threading.Lock()
        self.inotify = threading.Lock()
        self.done: list[Done] = []
        self.running: dict[str, subprocess.Popen] = {}
        self.failed = False

    def lane(self, steps: list[str]):
        while name := self.next_of(steps):
            with self.inotify if name in INOTIFY else contextlib.nullcontext():
                if not self.step(name, STEPS[name]):
                    return

    def next_of(self, steps: list[str]) -> str | None:
        with self.lock:
            rest = steps or self.last
            return rest.pop(0) if rest else None

    def step(self, name: str, script: str) -> bool:
        log, times = LOGS / f"{name}.log", LOGS / f"{name}.times"
        command = [".ci/alone", "--times", times, "bash", "-euo", "pipefail", "-c", script]
        with log.open("wb") as output, self.lock:
            if self.failed:
                return False
            began = time.monotonic() - self.begin
            print(f"-- {name} begins (after {began:.0f} s)", flush=True)
            process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                env=os.environ | ENVIRONMENT | OFFLINE,
            )
            self.running[name] = process
        status = process.wait()
        wall, processors = map(float, times.read_text().split()) if times.exists() else (0.0, 0.0)
        with self.lock:
            del self.running[name]
            if self.failed:
                print(f"== {name} was ended", flush=True)
                return False
            self.done.append(Done(name, began, wall, processors, status))
            print(f"\n== {name} ({wall:.0f} s, of processors {processors:.0f} s)", flush=True)
            sys.stdout.buffer.write(log.read_bytes())
            sys.stdout.buffer.flush()
            if status != 0:
                print(f"== {name} FAILED with status {status}", flush=True)
                self.end()
        return status == 0

    def end(self):
        """What runs beside a step that failed is ended, with all that it has started."""
        self.failed = True
        for process in self.running.values():
            os.killpg(process.pid, signal.SIGTERM)

    def table(self) -> str:
        lines = [f"{'step':16} {'begins':>7} {'takes':>7} {'of processors':>14}"]
        for one in sorted(self.done, key=lambda one: one.began):
            verdict = "" if one.status == 0 else "  FAILED"
            lines.append(f"{one.name:16} {one.began:5.0f} s {one.wall:5.0f} s {one.processors:12.0f} s{verdict}")
        return "\n".join(lines)


def main() -> int:
    words = sys.argv[1:]
    unknown = [word for word in words if word not in STEPS]
    if unknown:
        print(f"no step of that name: {', '.join(unknown)}\n{__doc__}")
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begin = time.monotonic()
    subprocess.run([".ci/setup"], cwd=ROOT, check=True, env=os.environ | ENVIRONMENT)
    setup = time.monotonic() - begin
    print(f"-- setup took {setup:.0f} s", flush=True)

    LOGS.mkdir(parents=True, exist_ok=True)
    for old in LOGS.iterdir():
        old.unlink()
    *lanes, last = ([name for name in steps if not words or name in words] for steps in (*LANES, LAST))
    chosen = [*last, *(name for lane in lanes for name in lane)]
    run = Run(time.monotonic(), last)
    threads = [threading.Thread(target=run.lane, args=[steps]) for steps in lanes]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        with run.lock:
            run.end()
        return 130
    print(f"\n{run.table()}")
    processors = sum(one.processors for one in run.done)
    print(f"setup took {setup:.0f} s; all steps {time.monotonic() - run.begin:.0f} s, of processors {processors:.0f} s")
    passed = [one.name for one in run.done if one.status == 0]
    # a step may not have run at all: another failed, or its lane did
    if missing := [name for name in chosen if name not in passed]:
        print(f"failed or not run: {', '.join(missing)}")
    print(f"{len(passed)} passed, {len(missing)} failed")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
