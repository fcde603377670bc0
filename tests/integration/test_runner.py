"""The runner itself: every way in which a test program can fail is counted as a failure."""

# builds: plain

import os
import re
import subprocess
import tempfile
import unittest

import harness

# What a unit test prints and how it ends; what must be counted.
CASES = {
    "good": ("echo '[  PASSED  ] 3 test(s).'", 3, 0),
    "mixed": ("echo '[  PASSED  ] 2 test(s).'; echo '[  FAILED  ] 1 test(s), listed below:';"
              "echo '[  FAILED  ] test_x'; exit 1", 2, 1),
    "skipping": ("echo '[  PASSED  ] 1 test(s).'; echo '[  SKIPPED ] 2 test(s), listed below:'",
                 1, 0),
    "leaking": ("echo '[  PASSED  ] 2 test(s).'; exit 99", 2, 1),
    "crashing": ("kill -SEGV $$", 0, 1),
    "silent": ("exit 0", 0, 1),
    "endless": ("echo '[  PASSED  ] 1 test(s).'; sleep 600", 1, 1),
}


class Runner(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for name in ("src/tests/unit", "src/tests/integration", "plain/tests"):
            os.makedirs(os.path.join(self.folder, name))

    def unit(self, name, script, source="/* builds: plain */\n/* time-limit: 2 */\n"):
        harness.write(f"{self.folder}/src/tests/unit/test_{name}.c", source)
        if script is not None:
            path = f"{self.folder}/plain/tests/test_{name}"
            harness.write(path, "#!/bin/sh\n" + script + "\n")
            os.chmod(path, 0o755)

    def run_all(self, *arguments):
        """(exit status, output, passed, failed)"""
        done = subprocess.run(
            ["/usr/bin/python3", os.path.join(harness.SRC, "tests/run.py"),
             "--builds", self.folder, *arguments], text=True, capture_output=True, check=False,
            env={**os.environ, "IM2000_SRC": os.path.join(self.folder, "src")})
        last = re.fullmatch(r"(\d+) passed, (\d+) failed", done.stdout.splitlines()[-1])
        self.assertIsNotNone(last, done.stdout + done.stderr)
        return done.returncode, done.stdout, int(last.group(1)), int(last.group(2))

    def test_unit_programs(self):
        for name, (script, passed, failed) in CASES.items():
            self.unit(name, script)
            status, output, *counts = self.run_all("unit/test_" + name)
            self.assertEqual(counts, [passed, failed], name + output)
            self.assertEqual(status, 1 if failed else 0, name)

    def test_not_built(self):
        self.unit("missing", None)
        self.assertEqual(self.run_all()[2:], (0, 1))

    def test_nothing_to_run(self):
        self.assertEqual(self.run_all()[0], 1)

    def test_default_builds(self):
        self.unit("plain", CASES["good"][0], source="")
        os.makedirs(self.folder + "/asan/tests")
        self.assertEqual(self.run_all()[2:], (3, 1))

    def test_other_results(self):
        self.unit("good", CASES["good"][0])
        harness.write(self.folder + "/results", "pass lint/a\nfail build/b\n")
        status, output, *counts = self.run_all("--results", self.folder + "/results")
        self.assertEqual((status, counts), (1, [4, 1]))
        self.assertIn("build/b", output)

    def test_integration_programs(self):
        harness.write(self.folder + "/src/tests/integration/test_x.py", """
# builds: plain
import unittest
class X(unittest.TestCase):
    def test_good(self): pass
    def test_bad(self): self.fail("no")
    def test_error(self): raise KeyError
    @unittest.skip("why")
    def test_skipped(self): pass
unittest.main()
""")
        status, output, *counts = self.run_all()
        self.assertEqual((status, counts), (1, [1, 2]), output)
        self.assertIn("1 skipped", output)

    def test_nothing_stays_behind(self):
        mark = os.path.join(self.folder, "pid")
        self.unit("leaver", f"sleep 600 & echo $! > {mark}; {CASES['good'][0]}")
        # The child holds the output open, so the program counts as running until its limit.
        self.assertEqual(self.run_all()[2:], (3, 1))
        with open(mark, encoding="ascii") as file:
            pid = int(file.read())
        harness.wait_for("the child is gone", lambda: not self.alive(pid))

    @staticmethod
    def alive(pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                return file.read().rpartition(")")[2].split()[0] not in "ZX"
        except FileNotFoundError:
            return False


if __name__ == "__main__":
    harness.main()
