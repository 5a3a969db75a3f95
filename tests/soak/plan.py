#!/usr/bin/env python3
"""What one run of scripts/soak does, all of it from one number.

    plan.py DIR --minutes N --seed S --faults LIST --rate CALLS_A_SECOND
    plan.py --list-faults

Writes into DIR: `placed.csv` (every call), `calls-*.csv` (the same, for each carrier of sipp), `rates` (of each
carrier) and `schedule` (seconds after the begin, what to do). Uses only `random.Random.random()`, whose sequence is
the same in every version of Python.
"""

import argparse
import os
import random
import sys

FAULTS = {
    "daemon-kill": "SIGKILL of a daemon, sometimes of both; started again up to 4 s later",
    "daemon-stop": "SIGSTOP of a daemon for 1 to 8 s, then SIGCONT",
    "daemon-term": "SIGTERM of a daemon; started again when it has gone",
    "db-stop": "PostgreSQL stopped (fast or immediate) and started again up to 5 s later",
    "db-kill": "SIGKILL of PostgreSQL's postmaster; started again",
    "db-promote": "the primary is killed and its synchronous standby promoted; a new standby is built afterwards",
    "db-silent": "a daemon's database connections (or both daemons') are silent for 2 to 8 s, or the old ones for good",
    "asterisk-kill": "SIGKILL of Asterisk; started again",
    "ari-cut": "a daemon's ARI connection (or both daemons') is closed and refused, or silent, for 1 to 10 s",
    "clock": "a daemon is started with its clock moved by 20 s, 65 s or 5.5 h either way, and later started again",
}

# Number dialled, share, least and most milliseconds the caller stays.
HOLD = [
    ("+15550001001", 22, 300, 6000),
    ("+15550001002", 20, 300, 4000),
    ("+15550001003", 18, 300, 6000),
    ("+15550001004", 22, 20, 400),
    ("+15550001005", 8, 100, 1500),
    ("+15550001006", 4, 300, 3000),
    ("+15550001007", 3, 300, 3000),
    ("+15550001008", 3, 300, 300),
]
WAIT = [("+15550001011", 60, 0, 0), ("+15550001012", 40, 0, 0)]
# How long after the last Trying or Ringing the caller gives up.
CANCEL = [("+15550001021", 60, 50, 2500), ("+15550001022", 40, 500, 900)]
CARRIERS = {"hold": (0.72, HOLD), "wait": (0.14, WAIT), "cancel": (0.14, CANCEL)}
PERIOD = 10  # seconds, for rates of sipp


class Dice:
    def __init__(self, seed, purpose):
        self.random = random.Random(f"{purpose} {seed}").random

    def between(self, least, most):
        return least + (most - least) * self.random()

    def chance(self, share):
        return self.random() < share

    def one_of(self, things):
        return things[int(self.random() * len(things))]

    def weighted(self, rows):
        left = self.random() * sum(row[1] for row in rows)
        for row in rows:
            left -= row[1]
            if left < 0:
                return row
        return rows[-1]

    def shuffled(self, things):
        things = list(things)
        for i in range(len(things) - 1, 0, -1):
            j = int(self.random() * (i + 1))
            things[i], things[j] = things[j], things[i]
        return things


def calls(seed, seconds, rate):
    """The calls of each carrier: (caller, did, hold in ms), and how many each places in PERIOD seconds."""
    dice = Dice(seed, "calls")
    placed, rates, caller = {}, {}, 0
    for name, (share, rows) in CARRIERS.items():
        rates[name] = max(1, round(rate * share * PERIOD))
        count = max(1, int(rates[name] * seconds / PERIOD))
        placed[name] = []
        for _ in range(count):
            caller += 1
            did, _, least, most = dice.weighted(rows)
            placed[name].append((f"+1415{5000000 + caller}", did, int(dice.between(least, most))))
    return placed, rates


def fault(dice, kind):
    """One fault: what it touches, its steps (seconds after its begin, action), and when all is as before."""
    one = dice.one_of(["one", "two"])
    other = "two" if one == "one" else "one"
    if kind == "daemon-kill":
        steps, touched, end = [(0, f"daemon_kill {one}")], {one}, 0.0
        if dice.chance(0.25):
            steps.append((dice.between(0, 1), f"daemon_kill {other}"))
            touched.add(other)
        for name in sorted(touched):
            at = dice.between(1, 4)
            steps.append((at, f"daemon_start {name}"))
            end = max(end, at)
        return touched, steps, end + 2
    if kind == "daemon-stop":
        end = dice.between(1, 8)
        return {one}, [(0, f"daemon_freeze {one}"), (end, f"daemon_thaw {one}")], end + 1
    if kind == "daemon-term":
        return {one}, [(0, f"daemon_term {one}"), (0.1, f"daemon_start {one}")], 3
    if kind == "db-stop":
        mode = dice.one_of(["fast", "immediate"])
        end = dice.between(0.2, 5)
        return {"db"}, [(0, f"db_stop {mode}"), (end, "db_start")], end + 3
    if kind == "db-kill":
        end = dice.between(0.2, 3)
        return {"db"}, [(0, "db_kill"), (end, "db_start")], end + 3
    if kind == "db-promote":
        return {"db"}, [(0, "db_promote"), (3, "db_standby")], 8
    if kind == "db-silent":
        names = dice.one_of([["one"], ["two"], ["one", "two"]])
        mode = dice.one_of(["freeze", "freeze-old"])
        end = dice.between(2, 8)
        steps = [(0, f"way {mode} db-{name}") for name in names] + [(end, f"way open db-{name}") for name in names]
        return {*names, "db"}, steps, end + 2
    if kind == "asterisk-kill":
        end = dice.between(0.5, 3)
        return {"asterisk"}, [(0, "asterisk_kill"), (end, "asterisk_start")], end + 4
    if kind == "ari-cut":
        names = dice.one_of([["one"], ["two"], ["one", "two"]])
        mode = dice.one_of(["cut", "freeze"])
        end = dice.between(1, 10)
        steps = [(0, f"way {mode} ari-{name}") for name in names] + [(end, f"way open ari-{name}") for name in names]
        return {"ari"}, steps, end + 2
    if kind == "clock":
        offset = dice.one_of([-19800, -65, -20, 20, 65, 19800])
        end = dice.between(8, 14)
        return (
            {one},
            [
                (0, f"daemon_term {one}"),
                (0.1, f"daemon_start {one} {offset}"),
                (end, f"daemon_term {one}"),
                (end + 0.1, f"daemon_start {one}"),
            ],
            end + 3,
        )
    raise ValueError(kind)


def schedule(seed, seconds, kinds):
    """Lines (seconds, action): every kind in turn, in a new order each round, now and then two at once."""
    dice = Dice(seed, "faults")
    lines, queue = [], []
    last, last_touched, last_end = 0.0, set(), 3.0
    while kinds:
        if not queue:
            queue = dice.shuffled(kinds)
        kind = queue.pop()
        touched, steps, length = fault(dice, kind)
        overlap, when, gap = dice.chance(0.3), dice.random(), dice.between(1, 6)
        if overlap and not (touched & last_touched) and last_touched:
            begin = last + when * max(0.0, last_end - last)
        else:
            begin = last_end + gap
        if max(begin + length, last_end) > seconds - 5:
            break
        lines += [(begin + after, f"{kind} {action}") for after, action in steps]
        last_touched = touched if begin >= last_end else touched | last_touched
        last, last_end = begin, max(last_end, begin + length)
    return sorted(lines, key=lambda line: line[0])


def chosen(text):
    """The faults of --faults: all, none, names, or -names."""
    names = [name for name in text.split(",") if name]
    for name in names:
        if name.lstrip("-") not in {*FAULTS, "all", "none"}:
            sys.exit(f"no such fault: {name} (there are: {', '.join(FAULTS)})")
    if "none" in names:
        return []
    minus = {name[1:] for name in names if name.startswith("-")}
    plus = {name for name in names if not name.startswith("-")}
    if not plus or "all" in plus:
        plus = set(FAULTS)
    return [name for name in FAULTS if name in plus - minus]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dir", nargs="?")
    parser.add_argument("--list-faults", action="store_true")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--faults", default="all")
    parser.add_argument("--rate", type=float, default=8)
    options = parser.parse_args()
    if options.list_faults:
        for name, what in FAULTS.items():
            print(f"    {name:<14} {what}")
        return
    kinds = chosen(options.faults)
    if options.dir is None:
        print(" ".join(kinds))
        return
    seconds = options.minutes * 60
    placed, rates = calls(options.seed, seconds, options.rate)
    os.makedirs(options.dir, exist_ok=True)

    def write(name, lines):
        with open(os.path.join(options.dir, name), "w", encoding="ascii") as file:
            file.writelines(f"{line}\n" for line in lines)

    write("placed.csv", [f"{c},{d},{kind},{ms}" for kind, rows in placed.items() for c, d, ms in rows])
    for kind, rows in placed.items():
        write(f"calls-{kind}.csv", ["SEQUENTIAL"] + [f"{d};{c};any;{ms}" for c, d, ms in rows])
    write("rates", [f"{kind} {rates[kind]} {len(rows)}" for kind, rows in placed.items()])
    write("schedule", [f"{at:.3f} {action}" for at, action in schedule(options.seed, seconds, kinds)])


if __name__ == "__main__":
    main()
