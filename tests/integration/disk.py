"""A disk that fails when the test wants it to (disk.c): for the one daemon that is started with
its environment.

    disk = disk.Disk(self.site)
    store.start(disk.environment())
    disk.stop_at(7, disk.variant(seed))     # the seventh call from now on that changes the file
    ...                                     # what the daemon does until it dies
    if disk.stopped(): ..."""

import mmap
import os
import random
import struct

import harness

_FIELDS = ("calls", "stop_at", "after", "take_back", "seed", "good_flush", "fail_flush",
           "fail_write", "room", "stopped")
_NOTHING, _ALL, _SOME = range(3)
# When the process ends at a call: (1: after it, what was not flushed is taken back).
VARIANTS = ((0, _NOTHING), (0, _SOME), (1, _SOME), (0, _ALL), (1, _NOTHING), (0, _SOME))


class Disk:
    def __init__(self, site, name="disk"):
        self.site = site
        self.path = os.path.join(site.folder, name)
        self.library = os.path.join(harness.BIN, "tests", "disk.so")
        if not os.path.exists(self.library):
            raise harness.Failed(f"{self.library} is missing: make tests")
        harness.write(self.path, bytes(8 * len(_FIELDS)))
        with open(self.path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 8 * len(_FIELDS))
        site.others.append(self)

    def close(self):
        self.map.close()

    def environment(self):
        """For daemon.start()."""
        before = self.site.environment().get("LD_PRELOAD")
        return {"LD_PRELOAD": ":".join(filter(None, (self.library, before))),
                "IM2000_TEST_DISK": self.path}

    def __getitem__(self, field):
        return struct.unpack_from("=Q", self.map, 8 * _FIELDS.index(field))[0]

    def __setitem__(self, field, value):
        struct.pack_into("=Q", self.map, 8 * _FIELDS.index(field), value)

    def stop_at(self, n, seed):
        """The process ends at the Nth call from now, in the way that SEED says."""
        self["after"], self["take_back"] = VARIANTS[seed % len(VARIANTS)]
        self["seed"] = random.Random(seed).getrandbits(64)
        self["stopped"] = 0
        self["stop_at"] = self["calls"] + n

    def fail_flush(self, n):
        """The Nth flush from now fails (a write of meta data is one, too): with EIO."""
        self["good_flush"], self["fail_flush"] = n - 1, 1

    def well(self):
        """It fails no more."""
        for field in "stop_at", "good_flush", "fail_flush", "fail_write", "room":
            self[field] = 0

    def stopped(self):
        """Whether the process was ended."""
        return self["stopped"] != 0
