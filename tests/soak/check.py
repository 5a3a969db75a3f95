#!/usr/bin/env python3
"""The history checker of scripts/soak: what both ends of every call saw, against what was recorded.

    check.py HISTORY [--prove] [--show N]

Reads the directory that scripts/soak wrote: sipp's messages of carriers and call centres, looks at Asterisk's
channels, the events (what was broken, when) and the tables. Prints a summary, and on failure the guilty calls with
all that is known of each. `--prove` also plants faults in copies of this very history; each must be found.

What the two ends cannot know is counted apart and never excused silently: calls that Asterisk took and was killed
with, and calls whose end could be told to nobody (every daemon down, or killed with the report in its hands).
"""

import argparse
import bisect
import csv
import json
import os
import re
import sys
from collections import defaultdict
from dataclasses import dataclass, field, replace

# A daemon that was started takes so long until it listens and has compared calls with Asterisk, on a busy machine.
START = 4.0
# So long may a report be under way between Asterisk and the table.
UNDER_WAY = 2.0
# Times of a row may differ from those of the carrier by so much; more is a wrong clock, not a slow machine.
CLOCK_LIMIT = 30.0
TALK_LIMIT = 20.0
FALLBACK = "fallback"
LOOKS = "looks at Asterisk's channels"


# --- what happened ------------------------------------------------------------------------------------


@dataclass
class Call:
    """One call as the carrier saw it. Times are seconds since 1970; None: never."""

    caller: str
    did: str
    kind: str
    hold_ms: int = 0
    invited: float = None
    taken: float = None
    rang: float = None  # 180 or 183: the dialplan has its answer and dials
    status: int = None
    final: float = None
    cancelled: float = None
    over: float = None  # BYE of either side, or a final refusal
    over_by: str = None


@dataclass
class Leg:
    """One call as a call centre saw it."""

    call_id: str
    endpoint: str
    caller: str = None
    invited: float = None
    provisional: bool = False
    status: int = None
    final: float = None
    acknowledged: bool = False
    over: float = None
    last: float = None


@dataclass
class Event:
    begin: float
    end: float
    fault: str
    action: str
    words: list


@dataclass
class History:
    calls: list = field(default_factory=list)
    legs: list = field(default_factory=list)
    events: list = field(default_factory=list)
    samples: list = field(default_factory=list)  # (time, [(endpoint, channel id), ...])
    rows: list = field(default_factory=list)
    attempts: list = field(default_factory=list)
    links: list = field(default_factory=list)
    left_over: list = field(default_factory=list)
    channels: list = field(default_factory=list)
    drift: dict = field(default_factory=dict)
    complaints: list = field(default_factory=list)
    dialplan: set = None  # callers whose calls came as far as the dialplan; None: not known


@dataclass
class Fault:
    kind: str
    text: str
    caller: str = None
    at: float = None


# --- reading ------------------------------------------------------------------------------------------


def messages(path):
    """Lines of sipp's -trace_shortmsg: (time, sent?, call id, method, first line)."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            parts = line.rstrip("\n").split("\t")
            if len(parts) < 7 or parts[3] not in ("S", "R"):
                continue
            method = parts[5].rsplit(" ", 1)[-1]
            yield float(parts[2]), parts[3] == "S", parts[4], method, parts[6]


def status_of(first_line):
    match = re.match(r"SIP/2\.0 (\d{3})", first_line)
    return int(match.group(1)) if match else None


def hear_carrier(calls, lines):
    """Fills in what the carrier saw. `calls`: by call id."""
    for at, sent, call_id, method, first in lines:
        call = calls.get(call_id)
        if call is None:
            continue
        status = status_of(first)
        if sent and status is None:
            if method == "INVITE" and call.invited is None:
                call.invited = at
            elif method == "CANCEL" and call.cancelled is None:
                call.cancelled = at
            elif method == "BYE" and call.over is None:
                call.over, call.over_by = at, "caller"
        elif not sent and status is None:
            if method == "BYE" and call.over is None:
                call.over, call.over_by = at, "callee"
        elif not sent and method == "INVITE":
            if call.taken is None:
                call.taken = at
            if status in (180, 183) and call.rang is None:
                call.rang = at
            if status >= 200 and call.status is None:
                call.status, call.final = status, at
                if status >= 300:
                    call.over, call.over_by = at, "refused"


def hear_centre(legs, lines, callers):
    """Adds what a call centre saw. `callers`: caller by call id."""
    for at, sent, call_id, method, first in lines:
        status = status_of(first)
        leg = legs.get(call_id)
        if leg is None:
            match = re.match(r"INVITE sips?:([^@;>]+)@", first)
            if sent or method != "INVITE" or not match:
                continue
            leg = legs[call_id] = Leg(call_id, match.group(1), callers.get(call_id), invited=at)
        leg.last = at
        if sent and method == "INVITE" and status:
            if status < 200:
                leg.provisional = True
            elif leg.status is None:
                leg.status, leg.final = status, at
                if status >= 300 and leg.over is None:
                    leg.over = at
        elif not sent and method == "ACK" and leg.status == 200:
            leg.acknowledged = True
        elif status is None and method in ("BYE", "CANCEL") and leg.over is None:
            # A CANCEL that crossed the answer changes nothing for the centre.
            if method == "BYE" or leg.status is None:
                leg.over = at


def table(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def number(text, kind=float):
    return kind(text) if text not in (None, "") else None


def load(directory):
    def at(name):
        return os.path.join(directory, name)

    history = History()
    placed = defaultdict(list)
    with open(at("placed.csv"), encoding="ascii") as file:
        for line in file:
            caller, did, kind, hold = line.strip().split(",")
            placed[kind].append(Call(caller, did, kind, int(hold)))
    for kind, calls in placed.items():
        by_id = {}
        path = at(f"carrier-{kind}.short")
        if os.path.exists(path):
            lines = list(messages(path))
            for _, _, call_id, _, _ in lines:
                if call_id not in by_id:
                    n = int(re.match(rf"{kind}-(\d+)@", call_id).group(1))
                    by_id[call_id] = calls[n - 1]
            hear_carrier(by_id, lines)
        history.calls += [call for call in calls if call.invited is not None]
    for name in sorted(os.listdir(directory)):
        if name.startswith("centre-") and name.endswith(".short"):
            callers = {}
            with open(at(name[: -len("short")] + "calls"), encoding="utf-8", errors="replace") as file:
                for line in file:
                    match = re.match(r"(\S+) .*<sips?:([^@>]+)@", line)
                    if match:
                        callers[match.group(1)] = match.group(2)
            legs = {}
            hear_centre(legs, messages(at(name)), callers)
            history.legs += legs.values()
    history.events = read_events(at("events"))
    with open(at("samples"), encoding="utf-8") as file:
        for line in file:
            words = line.split()
            if line.endswith("\n") and words:
                history.samples.append((float(words[0]), [tuple(word.split(":", 1)) for word in words[1:]]))
    for row in table(at("rows.csv")):
        for name in ("started", "answered", "ended"):
            row[name] = number(row[name])
        for name in ("duration_seconds", "billsec_seconds"):
            row[name] = number(row[name], int)
        history.rows.append(row)
    for row in table(at("attempts.csv")):
        for name in ("offered", "answered", "ended"):
            row[name] = number(row[name])
        history.attempts.append(row)
    for row in table(at("links.csv")):
        for name in ("max_concurrency", "total_calls_allowed", "current_total_calls", "held", "confirmed"):
            row[name] = number(row[name], int)
        history.links.append(row)
    history.left_over = table(at("left_over.csv"))
    with open(at("channels.json"), encoding="utf-8") as file:
        text = file.read().strip()
        history.channels = json.loads(text) if text else []
    with open(at("drift"), encoding="ascii") as file:
        for line in file:
            name, _, value = line.strip().partition(" ")
            history.drift[name] = value
    if os.path.exists(at("dialplan")):
        with open(at("dialplan"), encoding="utf-8", errors="replace") as file:
            history.dialplan = {line.strip() for line in file}
    if os.path.exists(at("complaints")):
        with open(at("complaints"), encoding="utf-8") as file:
            history.complaints = [line.strip() for line in file]
    return history


def read_events(path):
    events, open_ones = [], {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            at, phase, fault, action, *words = line.split()
            key = (fault, action, *words)
            if phase == "begin":
                open_ones[key] = Event(float(at), float("inf"), fault, action, words)
                events.append(open_ones[key])
            elif key in open_ones:
                open_ones.pop(key).end = float(at)
    return events


# --- what was broken when -----------------------------------------------------------------------------


class Trouble:
    """When the end of a call could be told to nobody."""

    def __init__(self, events):
        self.asterisk_kills = [e.begin for e in events if e.action == "asterisk_kill"]
        # By then it was dead.
        self.asterisk_deaths = [e.end for e in events if e.action == "asterisk_kill"]
        self.down = {"one": [], "two": []}  # (from, to)
        self.frozen = {"one": [], "two": []}
        self.blind = {"one": [], "two": []}  # without a database
        self.killed = []  # (time, daemon, by SIGKILL?)
        since = {}
        for event in events:
            name = event.words[0] if event.words else None
            if event.action in ("daemon_kill", "daemon_term"):
                since[name] = event.begin
                self.killed.append((event.begin, name, event.action == "daemon_kill"))
            elif event.action == "daemon_start" and name in since:
                self.down[name].append((since.pop(name), event.end + START))
            elif event.action == "daemon_freeze":
                since["frozen " + name] = event.begin
            elif event.action == "daemon_thaw" and "frozen " + name in since:
                self.frozen[name].append((since.pop("frozen " + name), event.end + UNDER_WAY))
            elif event.action in ("db_stop", "db_kill"):
                since["db"] = event.begin
            elif event.action == "db_start" and "db" in since:
                self.all_blind(since.pop("db"), event.end + START)
            elif event.action == "db_promote":
                self.all_blind(event.begin, event.end + START)
            elif event.action == "way" and event.words[1].startswith("db-"):
                name = event.words[1][3:]
                if event.words[0] != "open":
                    since["way " + name] = event.begin
                elif "way " + name in since:
                    self.blind[name].append((since.pop("way " + name), event.end + START))
        for key, begin in since.items():
            if key in self.down:
                self.down[key].append((begin, float("inf")))
        self.windows = self.untold_windows()
        self.begins = [window[0] for window in self.windows]

    def all_blind(self, begin, end):
        for name in self.blind:
            self.blind[name].append((begin, end))

    @staticmethod
    def reach_back(windows, at):
        """The begin of the window that `at` is in, else `at`."""
        return min([begin for begin, end in windows if begin <= at <= end], default=at)

    def untold_windows(self):
        windows = []
        # Nobody was there, or was there to listen.
        for a in self.down["one"]:
            for b in self.down["two"]:
                if a[0] <= b[1] and b[0] <= a[1]:
                    windows.append((max(a[0], b[0]) - UNDER_WAY, min(a[1], b[1])))
        # A daemon died with reports in its hands: what came while it stood still or had no database.
        for at, name, by_kill in self.killed:
            held_since = min(self.reach_back(self.frozen[name], at), self.reach_back(self.blind[name], at))
            if by_kill or held_since < at:
                windows.append((held_since - UNDER_WAY, at + UNDER_WAY))
        # Asterisk died before its hangup handler was through: that waits for daemons that stand still.
        for at in self.asterisk_kills:
            held_since = min(self.reach_back(self.frozen[n] + self.blind[n] + self.down[n], at) for n in self.frozen)
            windows.append((held_since - UNDER_WAY, at + UNDER_WAY))
        windows.sort()
        merged = []
        for begin, end in windows:
            if merged and begin <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((begin, end))
        return merged

    def untold(self, at):
        """May the end of a call at this moment have been told to nobody?"""
        i = bisect.bisect_right(self.begins, at) - 1
        return i >= 0 and at <= self.windows[i][1]

    def asterisk_died_with(self, call):
        """Asterisk was killed between the call's begin and its end, or the carrier saw no end."""
        until = call.over if call.over is not None else float("inf")
        return any(call.invited - 0.5 <= at <= until + 0.5 for at in self.asterisk_kills)


# --- checking -----------------------------------------------------------------------------------------


@dataclass
class Verdict:
    faults: list
    counts: dict
    excused: dict  # caller: why its outcome proves nothing


def check(history):
    faults, counts, excused = [], defaultdict(int), {}
    trouble = Trouble(history.events)
    legs_of = defaultdict(list)
    for leg in history.legs:
        legs_of[leg.caller].append(leg)
    rows_of = defaultdict(list)
    for row in history.rows:
        rows_of[row["caller_id_num"]].append(row)
    attempts_of = defaultdict(list)
    for attempt in history.attempts:
        attempts_of[attempt["call_id"]].append(attempt)

    worst = 0.0
    for call in history.calls:
        counts["calls placed"] += 1
        legs, rows = legs_of[call.caller], rows_of[call.caller]
        begun = history.dialplan is None or call.caller in history.dialplan
        off = check_call(call, legs, rows, attempts_of, trouble, begun, faults, counts, excused)
        worst = max(worst, off)
    counts["billed seconds off by at most"] = round(worst, 1)
    known = {call.caller: call.did for call in history.calls}
    for row in history.rows:
        if known.get(row["caller_id_num"]) != row["incoming_did_number"]:
            faults.append(Fault("row of no call", f"row {row['id']}: {row['caller_id_num']} never called "
                                f"{row['incoming_did_number']}", row["caller_id_num"], row["started"]))
    check_caps(history, trouble, faults, counts)
    check_totals(history, faults)
    for left in history.left_over:
        faults.append(Fault("left over", f"{left['kind']} of call {left['call_id']} is still open: {left['what']}"))
    for channel in history.channels:
        faults.append(Fault("left over", f"channel {channel.get('name')} ({channel.get('state')}) is still there"))
    for name, value in history.drift.items():
        if value not in ("0", "0.0"):
            faults.append(Fault("drift", f"daemon {name}: capconduit_usage_drift is {value or 'not told'}"))
    for text in history.complaints:
        faults.append(Fault("complaint", text))
    return Verdict(faults, dict(counts), excused)


def check_call(call, legs, rows, attempts_of, trouble, begun, faults, counts, excused):
    """Faults of one call; returns by how much its billed seconds are off."""

    def fault(kind, text):
        faults.append(Fault(kind, text, call.caller, call.invited))

    offered = [leg for leg in legs if leg.endpoint != FALLBACK]
    talked = [leg for leg in legs if leg.status == 200 and leg.acknowledged]
    if len(rows) > 1:
        fault("logged twice", f"{len(rows)} rows: {', '.join(row['id'] for row in rows)}")
    row = rows[0] if rows else None
    if call.taken is None:
        # Nobody answered the carrier at all: Asterisk was away. A row is possible if its first word was lost.
        counts["never taken by Asterisk"] += 1
        if row is None:
            return 0.0
        excused[call.caller] = "not taken"
        return 0.0
    counts["taken by Asterisk"] += 1
    if row is not None:
        counts["in the log"] += 1

    died = trouble.asterisk_died_with(call)
    end = call.over if call.over is not None else call.cancelled
    untold = end is not None and trouble.untold(end)
    unknown = died or untold
    if died:
        excused[call.caller] = "Asterisk was killed"
        counts["were in Asterisk when it was killed"] += 1
    elif untold:
        excused[call.caller] = "its end could be told to nobody"
        counts["ended when perhaps nobody could be told"] += 1
    elif call.status is None:
        fault("no answer to the caller", "Asterisk took the call and gave no final answer; the carrier gave up")
    counts[f"carrier heard {call.status or 'nothing'}"] += 1
    if talked and talked[-1].endpoint == FALLBACK and call.status == 200:
        counts["answered by the fallback"] += 1

    if row is None:
        # An offer is in the table before the call centre hears of it. Without one, and with nobody there to be
        # told, there is nothing to know the call from.
        if offered:
            fault("not logged", f"no row, though {', '.join(leg.endpoint for leg in offered)} was called")
        elif call.status == 487 and not begun:
            counts["given up before the dialplan began"] += 1
            excused[call.caller] = "given up before the dialplan began"
        elif not unknown:
            fault("not logged", f"no row; the carrier heard {call.status or 'nothing'}")
        else:
            counts["excused: no row"] += 1
        return 0.0
    if row["ended"] is None:
        fault("row without end", f"row {row['id']} ({row['call_status']})")

    # The outcome, as both ends saw it.
    status, endpoint = row["call_status"], row["endpoint"] or None
    by = talked[-1].endpoint if talked else None
    expected = None if by == FALLBACK else by
    wrong = None
    if call.status == 200:
        if by is None and not unknown:
            wrong = "the carrier was answered, by no call centre"
        elif status != "ANSWERED":
            wrong = f"carrier and {by} talked, logged {status}"
        elif endpoint != expected:
            wrong = f"carrier and {by} talked, logged for {endpoint or 'the fallback'}"
    elif status == "ANSWERED":
        wrong = f"logged ANSWERED by {endpoint or 'the fallback'}, the carrier heard {call.status or 'nothing'}"
    elif (call.status == 487) != (status == "ABANDONED"):
        wrong = f"logged {status}, the carrier heard {call.status or 'nothing'}"
    if wrong and call.status == 487 and crossed(call, row, endpoint, talked, attempts_of[row["id"]]):
        counts["outcome crossed the caller's CANCEL"] += 1
        wrong = None
    # A call that nobody could report may be logged as lost, never as answered by somebody else.
    if wrong and unknown and not (status == "ANSWERED" and endpoint != expected and by is not None):
        counts["excused: outcome"] += 1
    elif wrong:
        fault("wrong outcome", wrong)

    # Offers: each call centre that was called has an attempt, and no busy target was never called.
    attempts = attempts_of[row["id"]]
    named = [attempt["endpoint_id"] for attempt in attempts]
    for leg in offered:
        if leg.endpoint not in named:
            fault("called without a slot", f"{leg.endpoint} was called, attempts: {', '.join(named) or 'none'}")
    rang = {leg.endpoint for leg in legs}
    for attempt in attempts:
        if attempt["dial_status"] in ("BUSY", "NOANSWER") and attempt["endpoint_id"] not in rang and not died:
            fault("never called", f"attempt {attempt['attempt']}: {attempt['endpoint_id']} is logged "
                  f"{attempt['dial_status']}, but was never called")
        if attempt["ended"] is None:
            fault("left over", f"attempt {attempt['attempt']} at {attempt['endpoint_id']} has no end")

    # Times.
    if row["started"] is not None and abs(row["started"] - call.invited) > CLOCK_LIMIT:
        fault("wrong time", f"logged as begun {row['started'] - call.invited:+.1f} s from the INVITE")
    if row["duration_seconds"] is not None and row["billsec_seconds"] is not None:
        if row["billsec_seconds"] > row["duration_seconds"] + 1:
            fault("wrong time", f"{row['billsec_seconds']} s billed of {row['duration_seconds']} s")
    if not unknown and not wrong and call.status == 200 and call.over is not None:
        # On a machine that stands still the two ends hear of answer and end seconds apart.
        times = [call.over - call.final] + [leg.over - leg.final for leg in talked[-1:] if leg.over is not None]
        billed = row["billsec_seconds"] or 0
        off = max(min(times) - billed, billed - max(times), 0.0)
        if off > TALK_LIMIT:
            fault("wrong time", f"{billed} s billed, they talked for {call.over - call.final:.1f} s")
        return off
    return 0.0


def crossed(call, row, endpoint, talked, attempts):
    """The caller gave up just when the call centre answered, or when the refusal was on its way to him."""
    if call.cancelled is None:
        return False
    if row["call_status"] == "ANSWERED":
        return any((None if leg.endpoint == FALLBACK else leg.endpoint) == endpoint for leg in talked)
    if row["call_status"].startswith("REJECTED"):
        return row["started"] <= call.cancelled
    # Nobody was left to try: the last attempt had failed already.
    return bool(attempts) and all(a["outcome"] == "failed" and a["ended"] <= call.cancelled for a in attempts)


def check_caps(history, trouble, faults, counts):
    caps = {link["endpoint"]: link["max_concurrency"] for link in history.links}
    counts[LOOKS] = len(history.samples)
    looks = [at for at, _ in history.samples]
    counts["longest pause between two looks, s"] = round(max((b - a for a, b in zip(looks, looks[1:])), default=0.0), 1)
    if history.calls and not history.samples:
        faults.append(Fault("no looks", "nobody looked at Asterisk's channels"))
    over = {}
    for at, channels in history.samples:
        seen = defaultdict(set)
        for endpoint, channel in channels:
            seen[endpoint].add(channel)
        for endpoint, ids in seen.items():
            if endpoint in caps and len(ids) > caps[endpoint]:
                over.setdefault(endpoint, []).append((at, len(ids)))
    for endpoint, looks in sorted(over.items()):
        faults.append(Fault("cap passed", f"{endpoint}: up to {max(n for _, n in looks)} channels, the cap is "
                            f"{caps[endpoint]}; at {len(looks)} looks, first at {looks[0][0]:.3f}", None, looks[0][0]))
    # The same from the call centres' side, to the microsecond: calls from the INVITE until it was refused,
    # given up or hung up. A centre that said nothing cannot know when Asterisk gave up.
    moves = defaultdict(list)
    for leg in history.legs:
        if leg.endpoint not in caps or not leg.provisional and leg.status is None:
            continue
        died = [at for at in trouble.asterisk_deaths if at >= leg.invited]
        end = leg.over if leg.over is not None else leg.last
        if died:
            end = min(end, died[0])
        moves[leg.endpoint] += [(leg.invited, 1, leg.caller), (max(end, leg.invited), -1, leg.caller)]
    for endpoint, list_of_moves in sorted(moves.items()):
        now, worst, when, first = 0, 0, None, None
        for at, step, _ in sorted(list_of_moves, key=lambda m: (m[0], m[1])):
            now += step
            if now > caps[endpoint] and first is None:
                first = at
            if now > worst:
                worst, when = now, at
        counts["most calls at once at any centre, of its cap"] = max(
            counts.get("most calls at once at any centre, of its cap", 0), round(worst / max(1, caps[endpoint]), 2))
        if worst > caps[endpoint]:
            faults.append(Fault("cap passed at the centre", f"{endpoint} had {worst} calls at once at {when:.3f}, the "
                                f"cap is {caps[endpoint]}; first at {first:.3f}", None, first))


def check_totals(history, faults):
    rows, tries = defaultdict(int), defaultdict(int)
    for row in history.rows:
        if row["call_status"] == "ANSWERED" and row["link_id"]:
            rows[row["link_id"]] += 1
    for attempt in history.attempts:
        if attempt["outcome"] == "answered":
            tries[attempt["link_id"]] += 1
    for link in history.links:
        name, total = link["endpoint"], link["current_total_calls"]
        if not total == rows[link["id"]] == tries[link["id"]]:
            faults.append(Fault("totals", f"{name}: current_total_calls {total}, answered rows {rows[link['id']]}, "
                                f"answered attempts {tries[link['id']]}"))
        if link["total_calls_allowed"] is not None and total > link["total_calls_allowed"]:
            faults.append(Fault("total cap passed", f"{name}: {total} answered, {link['total_calls_allowed']} allowed"))
        if link["held"] or link["confirmed"]:
            faults.append(Fault("left over", f"{name}: {link['held']} slots held, {link['confirmed']} confirmed"))


# --- planted faults -----------------------------------------------------------------------------------


def plants(history, verdict):
    """(name, kind that must be found, history with that fault)."""
    guilty = {fault.caller for fault in verdict.faults}
    rows_of = {row["caller_id_num"]: row for row in history.rows}
    sound = [c for c in history.calls if c.taken and c.caller in rows_of and c.caller not in verdict.excused
             and c.caller not in guilty]
    answered = [c for c in sound if c.status == 200 and rows_of[c.caller]["endpoint"]]
    refused = [c for c in sound if c.status not in (200, 487, None)]

    def rows_with(caller, **changes):
        return [dict(row, **changes) if row["caller_id_num"] == caller else row for row in history.rows]

    if answered:
        caller = answered[len(answered) // 2].caller
        row = rows_of[caller]
        yield "a row is dropped", "not logged", replace(history, rows=[r for r in history.rows if r is not row])
        yield "a row is doubled", "logged twice", replace(history, rows=history.rows + [dict(row, id="0")])
        yield "an answered call is logged FAILED", "wrong outcome", replace(
            history, rows=rows_with(caller, call_status="FAILED"))
        yield "an answer is logged for another target", "wrong outcome", replace(
            history, rows=rows_with(caller, endpoint="somebody-else"))
        yield "a row has no end", "row without end", replace(history, rows=rows_with(caller, ended=None))
        yield "a row begins 5.5 hours late", "wrong time", replace(
            history, rows=rows_with(caller, started=row["started"] + 19800))
        yield "a call is billed for an hour", "wrong time", replace(
            history, rows=rows_with(caller, billsec_seconds=3600, duration_seconds=3600))
        yield "a target was called without a slot", "called without a slot", replace(
            history, attempts=[a for a in history.attempts if a["call_id"] != row["id"]])
        yield "a row of nobody", "row of no call", replace(
            history, rows=history.rows + [dict(row, id="0", caller_id_num="+10000000000")])
    if refused:
        yield "a refused call is logged ANSWERED", "wrong outcome", replace(
            history, rows=rows_with(refused[0].caller, call_status="ANSWERED"))
    if history.links and history.samples:
        link = next((k for k in history.links if not any(k["endpoint"] in f.text for f in verdict.faults)), None)
        if link is not None:
            at, channels = history.samples[len(history.samples) // 2]
            more = [(link["endpoint"], f"planted.{n}") for n in range(link["max_concurrency"] + 1)]
            samples = list(history.samples)
            samples[len(samples) // 2] = (at, [c for c in channels if c[0] != link["endpoint"]] + more)
            yield "a channel too many at one look", "cap passed", replace(history, samples=samples)
            twice = list(history.samples)
            twice[len(samples) // 2] = (at, [c for c in channels if c[0] != link["endpoint"]] + more[:-1] + more[:-1])
            yield "the same channels listed twice", None, replace(history, samples=twice)
            legs = [Leg(f"planted{n}", link["endpoint"], None, at, True, 200, at + 0.1, True, at + 1, at + 1)
                    for n in range(link["max_concurrency"] + 1)]
            yield "a call too many at a centre", "cap passed at the centre", replace(history, legs=history.legs + legs)
            yield "a counter off by one", "totals", replace(history, links=[
                dict(k, current_total_calls=k["current_total_calls"] + 1) if k is link else k for k in history.links])
            yield "a slot that is still used", "left over", replace(history, links=[
                dict(k, held=k["held"] + 1) if k is link else k for k in history.links])
    yield "an open reservation", "left over", replace(history, left_over=history.left_over + [
        {"kind": "reservation", "call_id": "0", "what": "planted"}])
    yield "a channel at the end", "left over", replace(history, channels=history.channels + [
        {"name": "PJSIP/planted-0", "state": "Up"}])


def prove(history, verdict):
    """Names of planted faults, and of those that were not found (or found where nothing was wrong)."""
    known = {(fault.kind, fault.text, fault.caller) for fault in verdict.faults}
    planted, missed = [], []
    for name, kind, changed in plants(history, verdict):
        new = {(f.kind, f.text, f.caller) for f in check(changed).faults} - known
        planted.append(name)
        if (kind is None and new) or (kind is not None and not any(k == kind for k, *_ in new)):
            missed.append(name)
    return planted, missed


# --- telling ------------------------------------------------------------------------------------------


def story(history, caller):
    """All that is known of a call."""

    def when(at):
        return "never" if at is None else f"{at - zero:+8.3f} s"

    calls = [call for call in history.calls if call.caller == caller]
    if not calls:
        return []
    call = calls[0]
    zero = call.invited
    lines = [f"    {caller} to {call.did} ({call.kind}, {call.hold_ms} ms), INVITE at {zero:.3f}",
             f"      carrier: taken {when(call.taken)}, final {call.status or 'none'} {when(call.final)}, cancelled "
             f"{when(call.cancelled)}, over {when(call.over)} by {call.over_by or 'nobody'}"]
    for leg in sorted((leg for leg in history.legs if leg.caller == caller), key=lambda leg: leg.invited):
        lines.append(f"      centre:  {leg.endpoint} called {when(leg.invited)}, said {leg.status or 'nothing'} "
                     f"{when(leg.final)}{', acknowledged' if leg.acknowledged else ''}, over {when(leg.over)}")
    for row in history.rows:
        if row["caller_id_num"] != caller:
            continue
        lines.append(f"      row {row['id']}: {row['call_status']} {row['endpoint'] or '-'} attempts {row['attempts']} "
                     f"{row['refusal_reason'] or ''} begun {when(row['started'])}, answered {when(row['answered'])}, ended "
                     f"{when(row['ended'])}, {row['duration_seconds']} s, {row['billsec_seconds']} s billed, cause "
                     f"{row['hangup_cause_code']}, {row['asterisk_uniqueid']}")
        for attempt in history.attempts:
            if attempt["call_id"] == row["id"]:
                lines.append(f"      attempt {attempt['attempt']}: {attempt['endpoint_id']} offered {when(attempt['offered'])}, "
                             f"answered {when(attempt['answered'])}, ended {when(attempt['ended'])}, {attempt['outcome']} "
                             f"{attempt['dial_status'] or ''}")
    until = (call.over or call.final or zero) + 5
    for event in history.events:
        if event.fault != "run" and event.begin <= until and event.end >= zero - 10:
            lines.append(f"      fault:   {event.action} {' '.join(event.words)} {when(event.begin)} to {when(event.end)}")
    return lines


def breaks(event):
    """Is it the begin of a fault, and not its end or what goes with it?"""
    if event.fault == "clock":
        return event.action == "daemon_start" and len(event.words) == 2
    if event.action == "way":
        return event.words[0] != "open"
    return event.action in ("daemon_kill", "daemon_freeze", "daemon_term", "db_stop", "db_kill", "db_promote",
                            "asterisk_kill")


def figures(history, verdict):
    """A row of the table in docs/reliability.md."""
    counts = verdict.counts
    injected = sum(1 for event in history.events if breaks(event))
    excused = counts.get("excused: no row", 0) + counts.get("excused: outcome", 0)
    return (f"| {counts.get('calls placed', 0)} | {counts.get('taken by Asterisk', 0)} | {counts.get('in the log', 0)} | "
            f"{counts.get('answered by the fallback', 0)} | {injected} | {counts.get(LOOKS, 0)} | {excused} | {len(verdict.faults)} |")


def tell(history, verdict, show):
    print("\nWhat was done")
    done = defaultdict(int)
    for event in history.events:
        if breaks(event):
            done[f"{event.fault}: {' '.join([event.action, *event.words])}"] += 1
    for name, count in sorted(done.items()):
        print(f"  {count:6}  {name}")
    if not done:
        print("       -  no faults")
    print("\nWhat was seen")
    for name, count in verdict.counts.items():
        print(f"  {count:>6}  {name}")
    print("\nWhat was found wrong")
    kinds = defaultdict(list)
    for fault in verdict.faults:
        kinds[fault.kind].append(fault)
    for kind, faults in sorted(kinds.items()):
        print(f"  {len(faults):6}  {kind}")
    if not kinds:
        print("       0  nothing")
    for kind, faults in sorted(kinds.items()):
        print(f"\n{kind}:")
        for fault in faults[:show]:
            print(f"  {fault.text}")
            if fault.caller:
                print("\n".join(story(history, fault.caller)))
            elif fault.at is not None:
                near = [f"{e.action} {' '.join(e.words)} {e.begin - fault.at:+.1f} s" for e in history.events
                        if e.fault != "run" and abs(e.begin - fault.at) < 10]
                print(f"    faults near it: {'; '.join(near) or 'none'}")
        if len(faults) > show:
            print(f"  ... and {len(faults) - show} more (--show)")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("history")
    parser.add_argument("--prove", action="store_true")
    parser.add_argument("--show", type=int, default=5)
    options = parser.parse_args()
    history = load(options.history)
    verdict = check(history)
    tell(history, verdict, options.show)
    failed = bool(verdict.faults)
    if not history.calls:
        print("\nno call was placed")
        failed = True
    if options.prove:
        planted, missed = prove(history, verdict)
        print(f"\nplanted in copies of this history: {len(planted)} faults, {len(planted) - len(missed)} told rightly")
        for name in missed:
            print(f"  NOT FOUND: {name}")
        failed = failed or bool(missed)
    print("\n| calls | taken | in the log | fallback | faults injected | looks | excused | found wrong |")
    print(figures(history, verdict))
    print(f"\n{'FAIL' if failed else 'ok'}: {len(verdict.faults)} faults in {len(history.calls)} calls")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
