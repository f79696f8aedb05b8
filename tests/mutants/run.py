"""Runs cargo-mutants on one area or all, and holds what survives against the reasons that are written down.

    run.py [AREA [K/N]]     run, then compare
    run.py --report         compare what earlier runs left in target/mutants
"""

import collections
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
RESULTS = ROOT / "target" / "mutants"

# What is mutated, and the tests that have to notice. Not the documentation's examples: each of them is a program to link.
AREAS = {
    "protocol": {
        "package": "dreamsocket-protocol",
        "files": ["crates/dreamsocket-protocol/src/**/*.rs"],
        "tests": ["--lib", "--tests"],
    },
    "broadcaster": {
        "package": "dreamsocket-broadcaster",
        "files": ["crates/dreamsocket-broadcaster/src/**/*.rs"],
        "tests": ["--lib", "--tests"],
    },
    "outbox": {
        "package": "dreamsocket",
        "files": ["crates/dreamsocket/src/outbox.rs", "crates/dreamsocket/src/outbox/*.rs", "crates/dreamsocket/src/forward.rs"],
        "tests": ["--all-features", "--lib", "--test", "contract", "--test", "compression"],
    },
    "session": {
        "package": "dreamsocket",
        "files": ["crates/dreamsocket/src/session.rs", "crates/dreamsocket/src/session/**/*.rs"],
        "tests": ["--all-features", "--lib", "--test", "contract", "--test", "compression", "--test", "budgets"],
    },
}

# What a mutant costs is building it: no debug information, and few cases of each property.
ENVIRONMENT = {
    "CARGO_PROFILE_DEV_DEBUG": "0",
    "CARGO_PROFILE_TEST_DEBUG": "0",
    "PROPTEST_CASES": "64",
}


def run(area, shard):
    """Leaves its lists in target/mutants/AREA[-K-N]."""
    described = AREAS[area]
    folder = RESULTS / (area if shard is None else f"{area}-{shard.replace('/', '-')}")
    folder.mkdir(parents=True, exist_ok=True)
    command = ["cargo", "mutants", "--package", described["package"], "--output", str(folder), "--jobs", "2"]
    command += ["--no-shuffle", "--cap-lints", "true", "--minimum-test-timeout", "60", "--colors", "never"]
    for pattern in described["files"]:
        command += ["--file", pattern]
    if shard is not None:
        command += ["--shard", shard]
    command += ["--"] + described["tests"]
    print("mutants:", " ".join(command), flush=True)
    status = subprocess.run(command, cwd=ROOT, env={**os.environ, **ENVIRONMENT}).returncode
    # 2: some survived; 3: some ran into the time limit. Both are looked at below.
    if status not in (0, 2, 3):
        sys.exit(f"mutants: cargo mutants ended with {status}")


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
        count = collections.Counter()
        survivors = collections.Counter()
        for lists in sorted(RESULTS.glob(f"{area}*/mutants.out")):
            for kind in ("caught", "timeout", "unviable", "missed"):
                found = lines(lists / f"{kind}.txt")
                count[kind] += len(found)
                if kind == "missed":
                    survivors.update(without_place(mutant) for mutant in found)
        if not count:
            continue
        viable = count["caught"] + count["timeout"] + count["missed"]
        new = survivors - known
        unexplained += new.elements()
        print(
            f"{area}: {viable} mutants, {count['caught']} noticed, {count['timeout']} never end, "
            f"{count['missed']} survive, {new.total()} of them without a reason; {count['unviable']} do not build"
        )
    return unexplained


def main(arguments):
    if arguments != ["--report"]:
        chosen = arguments[:1] or list(AREAS)
        shard = arguments[1] if len(arguments) > 1 else None
        if len(arguments) > 2 or any(area not in AREAS for area in chosen):
            sys.exit(f"usage: mutants [{'|'.join(AREAS)} [K/N]]")
        for area in chosen:
            run(area, shard)
    unexplained = report()
    for mutant in unexplained:
        print("survives without a reason:", mutant)
    sys.exit(1 if unexplained else 0)


main(sys.argv[1:])
