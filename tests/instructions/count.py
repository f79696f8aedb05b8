"""Counts the instructions that the echo example takes for a message, and compares with `expected`.

Each case runs twice under callgrind with one worker, with so many batches and with more; the difference is what the
messages cost, without the start, the handshake and the end. Nothing here looks at a clock but to give up.
"""

import json
import pathlib
import re
import subprocess
import sys

from peer import Peer

EXPECTED = pathlib.Path(__file__).parent / "expected"
OUT = pathlib.Path("target/instructions")
TOLERANCE = 0.05
BATCHES = (200, 1200)
SUBSCRIBERS = 20


def echo(size, at_once):
    """So many messages of `size` bytes under way at once, on one connection."""

    def talk(port, batches):
        peer = Peer(port, "/echo")
        for _ in range(batches):
            peer.send(size, at_once)
            peer.receive(size, at_once)
        return batches * at_once

    return talk


def fan_out(size, at_once):
    """A message that reaches every subscriber counts as so many."""

    def talk(port, batches):
        subscribers = [Peer(port, "/sub") for _ in range(SUBSCRIBERS)]
        publisher = Peer(port, "/pub")
        for _ in range(batches):
            publisher.send(size, at_once)
            for subscriber in subscribers:
                subscriber.receive(size, at_once)
        return batches * at_once * SUBSCRIBERS

    return talk


CASES = {
    "echo-32-bytes-16-at-once": echo(32, 16),
    "echo-32-bytes-1-at-once": echo(32, 1),
    "echo-1024-bytes-16-at-once": echo(1024, 16),
    "fan-out-32-bytes-16-at-once": fan_out(32, 16),
}


def build():
    """The program, in the profile that the other scripts use, too."""
    command = ["cargo", "build", "--release", "--locked", "-p", "echo", "--bin", "echo"]
    command.append("--message-format=json-render-diagnostics")
    built = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    artifacts = (json.loads(line) for line in built.stdout.splitlines())
    return next(artifact["executable"] for artifact in artifacts if artifact.get("executable"))


def run(program, profile, talk, batches):
    """The instructions of a whole run, and how many messages it had."""
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}", program]
    command += ["--listen", "127.0.0.1:0", "--workers", "1"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        if not line.startswith("listening on "):
            sys.exit(f"instructions: the echo did not start:\n{server.communicate()[1]}")
        messages = talk(int(line.rpartition(":")[2]), batches)
        server.terminate()
        _, report = server.communicate(timeout=60)
    finally:
        server.kill()
    return int(re.search(r"Collected : (\d+)", report)[1]), messages


def count(program, name):
    totals = [
        run(program, OUT / f"{name}.{batches}.out", CASES[name], batches) for batches in BATCHES
    ]
    (few, few_messages), (many, many_messages) = totals
    return round((many - few) / (many_messages - few_messages))


def read_expected():
    lines = EXPECTED.read_text().splitlines() if EXPECTED.exists() else []
    entries = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: int(figure) for name, _, figure in entries}


def write_expected(counted, rustc):
    lines = [
        "# Instructions for a message, counted by scripts/instructions; --bless writes this file.",
        f"# {rustc}",
        *(f"{name} {figure}" for name, figure in counted.items()),
    ]
    EXPECTED.write_text("\n".join(lines) + "\n")


def main(arguments):
    if arguments not in ([], ["--bless"]):
        sys.exit("usage: scripts/instructions [--bless]")
    OUT.mkdir(parents=True, exist_ok=True)
    program = build()
    rustc = subprocess.run(["rustc", "--version"], check=True, stdout=subprocess.PIPE, text=True)
    rustc = rustc.stdout.strip()
    expected = read_expected()
    print(f"{'':30}{'expected':>9}{'counted':>9}")
    counted = {}
    failed = []
    for name in CASES:
        figure = counted[name] = count(program, name)
        known = expected.get(name)
        change = f"{(figure - known) / known:+9.1%}" if known else "      new"
        print(f"{name:30}{known or '':>9}{figure:>9}{change}", flush=True)
        if not known or abs(figure - known) > TOLERANCE * known:
            failed.append(name)
    if arguments:
        write_expected(counted, rustc)
        print(f"written to {EXPECTED.name}, with {rustc}")
    elif failed or expected.keys() != counted.keys():
        print(f"off by more than {TOLERANCE:.0%}: {', '.join(failed) or 'the names of the cases'}")
        if f"# {rustc}" not in EXPECTED.read_text().splitlines():
            print(f"the figures were made with another compiler than {rustc}")
        sys.exit("if that is as it should be: scripts/instructions --bless")


main(sys.argv[1:])
