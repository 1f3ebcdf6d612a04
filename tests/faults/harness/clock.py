"""A clock that steps while processes run: a library put before the C library's, which adds what a file says."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

SHIFT = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long long *offset;
static int (*theirs)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CLOCK_OFFSET");
    int file = path ? open(path, O_RDONLY) : -1;
    void *found = file < 0 ? MAP_FAILED : mmap(0, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    if (found != MAP_FAILED) offset = found;
}

int clock_gettime(clockid_t which, struct timespec *now) {
    if (!theirs) theirs = dlsym(RTLD_NEXT, "clock_gettime");
    int done = theirs(which, now);
    if (done == 0 && which == CLOCK_REALTIME && offset) now->tv_sec += *offset;
    return done;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec found;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &found)) return -1;
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (where) *where = found.tv_sec;
    return found.tv_sec;
}
"""


class Clock:
    """The time of day for processes whose environment has `variables`; `step` sets it for all of them at once."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("needs a C compiler: the clock that steps is built here")
        source, library, self._offset = folder / "shift.c", folder / "shift.so", folder / "offset"
        source.write_text(SHIFT)
        built = subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if built.returncode:
            pytest.skip(f"the clock that steps can't be built here: {built.stderr[-300:]}")
        self.step(0)
        self.variables = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(self._offset)}

    def step(self, seconds: int) -> None:
        """From now on the clock is so many seconds before (negative: behind) the true one."""
        with self._offset.open("r+b" if self._offset.exists() else "wb") as file:
            file.write(struct.pack("q", seconds))
