"""Runs mutants that are built all at once, each behind a switch (tests/mutants/switches), with the tests that reach them.

A mutant costs no build then, and of the tests only those in which its code is reached; which they are, one run of each test
tells. What cannot be switched (what is evaluated at compile time, returns of `impl Trait`) is left to cargo-mutants.
"""

import collections
import concurrent.futures
import json
import os
import pathlib
import re
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import time

# So many processes of tests at once: they wait more than they work.
JOBS = 4
# A test that takes so many times as long as it did, and so many seconds more, never ends.
PATIENCE = 15
MORE_PATIENCE = 20
# What a mutant may take before it is ended, which counts as noticed.
MOST_MEMORY = 8 << 30

MARK = re.compile(rb"/\*([mw])(\d+)\*/")


class Tree:
    """A copy of the sources, with an area's mutants in it, and its tests, built."""

    def __init__(self, root, folder, area, environment):
        self.root, self.folder, self.area = root, folder, area
        self.tree = folder / "tree"
        self.directory = self.tree / "crates" / area["package"]
        self.programs = {}
        self.environment = {**os.environ, **environment, "CARGO_TARGET_DIR": str(folder.parent / "target")}
        self.environment["RUSTFLAGS"] = "--cap-lints=allow"

    def prepare(self, mutants):
        """Writes the mutants in, builds the tests, and returns which are switched and which do not build."""
        (self.folder / "list.json").write_text(json.dumps(mutants))
        subprocess.run(["cargo", "build", "--quiet", "-p", "mutant-switches"], cwd=self.root, check=True)
        unviable, unswitched, constant = set(), set(), set()
        while True:
            written = self.write(unviable | unswitched, constant)
            errors = self.check() or self.build()
            if not errors:
                return set(written["switched"]), unviable | set(written["unviable"])
            own, others, kept = self.blame(errors)
            print(f"mutants: {len(errors)} errors; of mutants: {len(own)}, near mutants: {len(others)}, for a const: {len(kept)}", flush=True)
            if not own and not others and kept <= constant:
                sys.exit("mutants: does not build, and it is no mutant's fault:\n" + errors[0]["rendered"])
            unviable |= own
            unswitched |= others - own
            constant |= kept

    def write(self, mutants, constant):
        without = {"mutants": sorted(mutants), "constant": sorted(constant)}
        (self.folder / "without.json").write_text(json.dumps(without))
        shutil.rmtree(self.tree, ignore_errors=True)
        listed = subprocess.run(["git", "ls-files", "-coz", "--exclude-standard"], cwd=self.root, check=True, capture_output=True)
        for name in listed.stdout.decode().split("\0"):
            if name and not name.startswith(("fuzz/corpus/", "bench/")) and (self.root / name).is_file():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                # Not its time: cargo would take what it has built from the last copy.
                shutil.copy(self.root / name, self.tree / name)
        tool = self.root / "target" / "debug" / "mutant-switches"
        arguments = [tool, self.tree, self.folder / "list.json", self.folder / "switched.json", self.folder / "without.json"]
        subprocess.run(arguments, check=True)
        return json.loads((self.folder / "switched.json").read_text())

    def cargo(self, *arguments):
        command = ["cargo", *arguments, "-p", self.area["package"], *self.area["features"], "--message-format", "json"]
        run = subprocess.run(command, cwd=self.tree, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return run, [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]

    def errors(self, run, messages):
        messages = [message["message"] for message in messages if message["reason"] == "compiler-message"]
        errors = [message for message in messages if message["level"] == "error" and message["spans"]]
        if run.returncode != 0 and not errors:
            sys.exit("mutants: cargo fails:\n" + run.stderr)
        return errors

    def check(self):
        return self.errors(*self.cargo("check", "--lib"))

    def build(self):
        """Builds the tests, and keeps their programs by name."""
        run, messages = self.cargo("test", "--no-run", *self.area["tests"])
        artifacts = [message for message in messages if message["reason"] == "compiler-artifact"]
        self.programs = {a["target"]["name"]: a["executable"] for a in artifacts if a["executable"] and a["profile"]["test"]}
        return self.errors(run, messages)

    def blame(self, errors):
        """The mutants in whose code an error lies, those that stand near one, and the functions that have to be `const`."""
        own, others, constant = set(), set(), set()
        for error in errors:
            # "cannot call non-const associated function `Limits::new` in constants"
            called = re.search(r"non-const .*`(?:.*::)?(\w+)(?:::<.*>)?`", error["message"])
            if called and (error["code"] or {}).get("code") == "E0015":
                constant.add(called[1])
                continue
            found = None
            for span in sorted(error["spans"], key=lambda span: not span["is_primary"]):
                found = self.around(span)
                if found is not None:
                    own.add(found)
                    break
            if found is None:
                # A match that is not exhaustive: what helps would stand behind its last arm.
                helping = [span for child in error["children"] for span in child["spans"]]
                others |= self.near(error["spans"] + helping)
        return own, others, constant

    def around(self, span):
        path = self.tree / span["file_name"]
        if not path.exists():
            return None
        open_marks = []
        for mark in MARK.finditer(path.read_bytes()[: span["byte_start"] + 1]):
            if mark[1] == b"m":
                open_marks.append(int(mark[2]))
            elif open_marks:
                open_marks.pop()
        return open_marks[-1] if open_marks else None

    def near(self, spans):
        """The mutants in the lines from the first place to the last."""
        path = self.tree / spans[0]["file_name"]
        if not path.exists():
            return set()
        text = path.read_bytes()
        here = [span for span in spans if span["file_name"] == spans[0]["file_name"]]
        start = text.rfind(b"\n", 0, min(span["byte_start"] for span in here)) + 1
        end = text.find(b"\n", max(span["byte_end"] for span in here))
        return {int(mark[2]) for mark in MARK.finditer(text[start:end])}

    def limit(self):
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def run(self, program, names, seconds, **variables):
        """Runs tests: `passed`, `timeout`, or the name of the first that failed."""
        threads = "1" if len(names) == 1 else "4"
        command = [program, "--exact", "--test-threads", threads, *names]
        environment = {**self.environment, **variables, "RUST_BACKTRACE": "0"}
        process = subprocess.Popen(
            command, cwd=self.directory, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, start_new_session=True, preexec_fn=self.limit,
        )
        try:
            return self.watch(process, time.monotonic() + seconds)
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
            process.stdout.close()

    def watch(self, process, deadline):
        output = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    return "timeout"
                if not selector.select(left):
                    continue
                piece = os.read(process.stdout.fileno(), 65536)
                output += piece
                failed = re.search(rb"^test (\S+).* \.\.\. FAILED|^test (\S+) .*FAILED", output, re.MULTILINE)
                if failed:
                    return (failed[1] or failed[2]).decode()
                if not piece:
                    try:
                        status = process.wait(max(left, 0))
                    except subprocess.TimeoutExpired:
                        return "timeout"
                    return "passed" if status == 0 else f"ended with {status}"


Test = collections.namedtuple("Test", "program name seconds reached")


def record(tree):
    """Runs each test by itself, without a mutant, and returns those that pass."""
    everything = []
    for program in tree.programs.values():
        listed = subprocess.run([program, "--list", "--format", "terse"], cwd=tree.directory, check=True, capture_output=True, text=True)
        everything += [(program, line.removesuffix(": test")) for line in listed.stdout.splitlines() if line.endswith(": test")]
    folder = tree.folder / "reached"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()

    def one(numbered):
        number, (program, name) = numbered
        path = folder / str(number)
        start = time.monotonic()
        result = tree.run(program, [name], 300, MUTANTS_REACHED=str(path))
        seconds = time.monotonic() - start
        if result != "passed":
            # One that counts allocations counts the notes, too.
            start = time.monotonic()
            result = tree.run(program, [name], 300)
            seconds = time.monotonic() - start
        if result != "passed":
            print(f"mutants: left out, for it fails without a mutant: {name} ({result})", flush=True)
            return None
        reached = frozenset(map(int, path.read_text().split())) if path.exists() else frozenset()
        return Test(program, name, seconds, reached)

    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        tests = [test for test in pool.map(one, enumerate(everything)) if test]
    print(f"mutants: {len(tests)} tests, {sum(test.seconds for test in tests):.0f} s", flush=True)
    return tests


def batches(tests):
    """The quickest first, by themselves; then the rest, a program at a time."""
    tests = sorted(tests, key=lambda test: test.seconds)
    sizes = [6, 24, len(tests)]
    while tests:
        size = sizes.pop(0)
        some, tests = tests[:size], tests[size:]
        by_program = collections.defaultdict(list)
        for test in some:
            by_program[test.program].append(test)
        yield from by_program.items()


def judge(tree, tests, mutant):
    """What becomes of a mutant, and who noticed."""
    reaching = [test for test in tests if mutant in test.reached]
    if not reaching:
        return "missed", "no test reaches it"
    for program, some in batches(reaching):
        seconds = MORE_PATIENCE + PATIENCE * sum(test.seconds for test in some)
        result = tree.run(program, [test.name for test in some], seconds, MUTANT=str(mutant))
        if result == "timeout":
            return "timeout", some[0].name
        if result != "passed":
            return "caught", result
    return "missed", f"{len(reaching)} tests reach it"


def run(tree, tests, mutants, chosen, note):
    """Judges the chosen mutants, and gives each outcome to `note`."""
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        futures = {pool.submit(judge, tree, tests, mutant): mutant for mutant in chosen}
        for done, future in enumerate(concurrent.futures.as_completed(futures), 1):
            outcome, by = future.result()
            name = mutants[futures[future]]["name"]
            note(name, outcome)
            if outcome != "caught":
                print(f"{outcome}: {name} ({by})", flush=True)
            if done % 50 == 0:
                print(f"mutants: {done} of {len(chosen)} in {time.monotonic() - start:.0f} s", flush=True)
