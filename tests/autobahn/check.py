#!/usr/bin/env python3
"""What Autobahn is expected to say, and whether it said so.

    check.py spec        EXPECTED CASES URL OUTDIR   prints the fuzzing client's specification
    check.py server-spec EXPECTED CASES URL OUTDIR   prints the fuzzing server's
    check.py compare     EXPECTED CASES INDEX_JSON   compares a run; exit 1 on any difference

EXPECTED has a line for each case: its id, the behavior and the closing behavior, as the suite spells them, and a
reason wherever either is not OK. CASES are ids or patterns with commas between them. A case counts as passed when
both behaviors are the expected ones; a better result than the expected one is a difference too, so that the file
stays true.
"""
import fnmatch
import json
import sys


def read_expected(path, patterns):
    expected = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.partition("#")[0].split(maxsplit=3)
            if not line:
                continue
            if len(line) < 3 or line[0] in expected or (line[1:3] != ["OK", "OK"] and len(line) < 4):
                sys.exit(f"{path}:{number}: wants a new id, two behaviors, and a reason if either is not OK")
            if any(fnmatch.fnmatchcase(line[0], pattern) for pattern in patterns.split(",")):
                expected[line[0]] = (line[1], line[2])
    if not expected:
        sys.exit(f"{path}: has no case {patterns}")
    return expected


def print_spec(expected, peer, outdir):
    print(json.dumps({
        "outdir": outdir,
        **peer,
        "cases": list(expected),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }))


def compare(expected, index):
    with open(index, encoding="utf-8") as file:
        agents = json.load(file)
    results = next(iter(agents.values()), {})
    failed = 0
    for case in sorted({*expected, *results}, key=lambda case: [int(part) for part in case.split(".")]):
        wanted = expected.get(case, ("not", "run"))
        result = results.get(case)
        got = (result["behavior"], result["behaviorClose"]) if result else ("not", "run")
        got = tuple(behavior.replace(" ", "-") for behavior in got)  # WRONG CODE is one word in EXPECTED
        if got != wanted:
            failed += 1
            code = f", close code {result['remoteCloseCode']}" if result else ""
            print(f"{case}: expected {' / '.join(wanted)}, got {' / '.join(got)}{code}")
    print(f"{len(expected) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    command, path, patterns, *rest = sys.argv[1:]
    cases = read_expected(path, patterns)
    if command == "spec":
        url, outdir = rest
        print_spec(cases, {"servers": [{"agent": "dreamsocket", "url": url}]}, outdir)
    elif command == "server-spec":
        url, outdir = rest
        print_spec(cases, {"url": url}, outdir)
    elif command == "compare":
        sys.exit(compare(cases, *rest))
    else:
        sys.exit(__doc__)
