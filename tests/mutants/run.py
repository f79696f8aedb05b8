"""Runs an area's mutants, or all areas', and holds what survives against the reasons that are written down.

    run.py [AREA [K/N|again|switched|rest]]     run, then compare
    run.py --report                             compare what earlier runs left in target/mutants

K/N takes the K-th of N parts, counted from 0; `again` only what survived or was not run; `switched` those that are built at
once (switched.py), `rest` the others, each of which takes a build.
"""

import collections
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys

import switched

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
RESULTS = ROOT / "target" / "mutants"

# What is mutated, and the tests that have to notice. Not the documentation's examples: each of them is a program to link.
AREAS = {
    "protocol": {
        "package": "dreamsocket-protocol",
        "files": ["crates/dreamsocket-protocol/src/**/*.rs"],
        "features": [],
        "tests": ["--lib", "--test", "rfc6455", "--test", "rfc7692"],
    },
    "outbox": {
        "package": "dreamsocket",
        "files": ["crates/dreamsocket/src/outbox.rs", "crates/dreamsocket/src/outbox/*.rs", "crates/dreamsocket/src/forward.rs"],
        "features": ["--all-features"],
        "tests": ["--lib", "--test", "contract", "--test", "compression", "--test", "metrics", "--test", "inspector"],
    },
    "session": {
        "package": "dreamsocket",
        "files": ["crates/dreamsocket/src/session.rs", "crates/dreamsocket/src/session/**/*.rs"],
        "features": ["--all-features"],
        "tests": ["--lib", "--test", "contract", "--test", "client", "--test", "compression", "--test", "budgets"]
        + ["--test", "metrics", "--test", "spans"],
    },
    "broadcaster": {
        "package": "dreamsocket-broadcaster",
        "files": ["crates/dreamsocket-broadcaster/src/**/*.rs"],
        # Clients of brokers need brokers, and what only tests is no subject of tests.
        "exclude": [
            *(f"**/{client}" for client in ("nats.rs", "nats/**", "nats_store.rs", "redis.rs", "redis/**", "redis_store.rs")),
            *("**/conformance.rs", "**/conformance/**", "**/remote.rs", "**/remote/**"),
        ],
        "features": ["--features", "conformance,messagepack,postcard"],
        "tests": ["--lib", "--tests"],
    },
    # What the engines share that reach other machines, and presence that does, over a link and a store in memory.
    "remote": {
        "package": "dreamsocket-broadcaster",
        "files": ["crates/dreamsocket-broadcaster/src/**/remote.rs", "crates/dreamsocket-broadcaster/src/**/remote/**/*.rs"],
        "features": ["--features", "conformance,messagepack,postcard"],
        "tests": ["--lib", "--tests"],
    },
}

# Tests check every overflow, and are several times as quick; few cases of each property.
ENVIRONMENT = {
    "CARGO_INCREMENTAL": "0",
    "CARGO_PROFILE_DEV_DEBUG": "0",
    "CARGO_PROFILE_DEV_OPT_LEVEL": "1",
    "PROPTEST_CASES": "64",
}


class Outcomes:
    """What became of each mutant so far, in target/mutants/AREA."""

    def __init__(self, area):
        self.path = RESULTS / area / "outcomes.json"
        self.of = json.loads(self.path.read_text()) if self.path.exists() else {}

    def note(self, name, outcome):
        self.of[name] = outcome
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.of, indent=0))

    def keep(self, mutants):
        """Forgets what is no mutant any more, and finds again what has only moved."""
        open_ones = {without_place(name) for name, outcome in self.of.items() if outcome == "missed"}
        before = {without_place(name): outcome for name, outcome in self.of.items()}
        names = [mutant["name"] for mutant in mutants]
        plain = {name: without_place(name) for name in names}
        # Of several with one name that have moved nobody knows which is which: if one is missed, all are looked at again.
        moved = {plain[name] for name in names if name not in self.of}
        self.of = {
            name: self.of[name]
            if plain[name] not in moved
            else "missed"
            if plain[name] in open_ones
            else before[plain[name]]
            for name in names
            if plain[name] in before
        }


def list_mutants(area):
    described = AREAS[area]
    command = ["cargo", "mutants", "--list", "--json", "--package", described["package"]]
    for pattern in described["files"]:
        command += ["--file", pattern]
    for pattern in described.get("exclude", []):
        command += ["--exclude", pattern]
    listed = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    return [{key: mutant[key] for key in ("name", "file", "genre", "replacement", "span")} for mutant in listed]


def run(area, which):
    folder = RESULTS / area
    folder.mkdir(parents=True, exist_ok=True)
    mutants = list_mutants(area)
    outcomes = Outcomes(area)
    outcomes.keep(mutants)
    chosen = range(len(mutants))
    if which == "again":
        chosen = [index for index in chosen if outcomes.of.get(mutants[index]["name"], "missed") == "missed"]
    elif which is not None and "/" in which:
        part, parts = map(int, which.split("/"))
        chosen = [index for index in chosen if index % parts == part]
    tree = switched.Tree(ROOT, folder, AREAS[area], ENVIRONMENT)
    able, unviable = tree.prepare(mutants)
    for index in unviable:
        outcomes.note(mutants[index]["name"], "unviable")
    rest = [index for index in chosen if index not in able and index not in unviable]
    print(f"mutants: {area}: {len(mutants)}; {len(able)} switched, {len(unviable)} do not build, {len(rest)} to be built alone", flush=True)
    if which != "rest":
        tests = switched.record(tree)
        switched.run(tree, tests, mutants, [index for index in chosen if index in able], outcomes.note)
        note_run(area, len(mutants))
    if which != "switched" and rest:
        run_alone(area, [mutants[index]["name"] for index in rest], outcomes)
        note_run(area, len(mutants))


def run_alone(area, names, outcomes):
    """Has cargo-mutants build and test each by itself."""
    described = AREAS[area]
    command = ["cargo", "mutants", "--package", described["package"], "--output", str(RESULTS / area), "--jobs", "2"]
    command += ["--cap-lints", "true", "--minimum-test-timeout", "120", "--colors", "never", "--baseline", "skip", "--timeout", "300"]
    for pattern in described["files"]:
        command += ["--file", pattern]
    for name in names:
        command += ["--re", f"^{re.escape(name)}$"]
    command += ["--", *described["features"], *described["tests"]]
    status = subprocess.run(command, cwd=ROOT, env={**os.environ, **ENVIRONMENT}).returncode
    # 2: some survived; 3: some ran into the time limit. Both are looked at below.
    if status not in (0, 2, 3):
        sys.exit(f"mutants: cargo mutants ended with {status}")
    for kind in ("caught", "timeout", "unviable", "missed"):
        for name in lines(RESULTS / area / "mutants.out" / f"{kind}.txt"):
            outcomes.note(name, kind)


def lines(path):
    return [line for line in path.read_text().splitlines() if line] if path.exists() else []


def without_place(mutant):
    """A mutant's name without line and column, which move with every change."""
    return re.sub(r"^([^:]+):\d+:\d+: ", r"\1: ", mutant)


def reasons():
    """The survivors that have a reason, and how many of each name there are."""
    known = collections.Counter()
    reason = None
    for line in lines(HERE / "survivors.txt"):
        if line.startswith("#"):
            reason = line
        elif reason is None:
            sys.exit(f"mutants: survivors.txt: no reason before {line!r}")
        else:
            known[line.strip()] += 1
    return known


def report():
    """Prints a line for each area, and returns the survivors without a reason."""
    known = reasons()
    unexplained = []
    for area in AREAS:
        outcomes = Outcomes(area).of
        if not outcomes:
            continue
        count = collections.Counter(outcomes.values())
        survivors = collections.Counter(without_place(name) for name, outcome in outcomes.items() if outcome == "missed")
        new = survivors - known
        unexplained += new.elements()
        print(
            f"{area}: {len(outcomes) - count['unviable']} mutants, {count['caught']} noticed, {count['timeout']} never end, "
            f"{count['missed']} survive, {new.total()} of them without a reason; {count['unviable']} do not build"
        )
    return unexplained


def note_run(area, listed):
    """Keeps in ran.txt what has been run of an area, and when."""
    outcomes = Outcomes(area).of
    count = collections.Counter(outcomes.values())
    columns = [area, listed, len(outcomes), *(count[kind] for kind in ("caught", "timeout", "missed", "unviable"))]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    line = "".join(f"{column:<12}" for column in [*columns, commit]) + datetime.date.today().isoformat()
    others = [other for other in lines(HERE / "ran.txt") if not other.startswith(f"{area} ")]
    head = [other for other in others if other.startswith("#")]
    others = sorted([other for other in others if not other.startswith("#")] + [line], key=lambda line: list(AREAS).index(line.split()[0]))
    (HERE / "ran.txt").write_text("\n".join(head + others) + "\n")


def main(arguments):
    if arguments != ["--report"]:
        chosen = arguments[:1] or list(AREAS)
        which = arguments[1] if len(arguments) > 1 else None
        known = which in (None, "again", "switched", "rest") or re.fullmatch(r"\d+/\d+", which)
        if len(arguments) > 2 or any(area not in AREAS for area in chosen) or not known:
            sys.exit(f"usage: mutants [{'|'.join(AREAS)} [K/N|again|switched|rest]]")
        for area in chosen:
            run(area, which)
    unexplained = report()
    for mutant in unexplained:
        print("survives without a reason:", mutant)
    sys.exit(1 if unexplained else 0)


main(sys.argv[1:])
