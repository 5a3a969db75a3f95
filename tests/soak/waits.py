#!/usr/bin/env python3
"""What callers waited and what was lost, from a history of `scripts/bench restart`.

    waits.py HISTORY

Prints `key=value` pairs. The wait is the carrier's: from its INVITE to the first ringing or final answer. It holds the
question to the daemon (to both daemons, where the first did not answer) and Asterisk's own work, so that no question
took longer. Waits near a restart are those of calls that came from 1 s before the SIGTERM to 2 s after the new daemon
was ready.
"""

import sys

import check


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def measure(history):
    restarts = [e for e in history.events if e.action == "restart"]
    waits, near = [], []
    for call in history.calls:
        answer = min((at for at in (call.rang, call.final) if at is not None), default=None)
        if answer is None:
            continue
        waits.append(answer - call.invited)
        if any(e.begin - 1 <= call.invited <= e.end + 2 for e in restarts):
            near.append(answer - call.invited)
    verdict = check.check(history)
    fallback = verdict.counts.get("answered by the fallback", 0)
    return {
        "calls": len(history.calls),
        "answered": sum(call.status == 200 for call in history.calls),
        "lost": sum(call.status != 200 for call in history.calls),
        "fallback": fallback,
        "rows": len(history.rows),
        "faults": len(verdict.faults),
        "restarts": len(restarts),
        "restart_max_s": f"{max((e.end - e.begin for e in restarts), default=0):.2f}",
        "near": len(near),
        "p50_ms": f"{quantile(waits, 0.5) * 1000:.0f}",
        "p99_ms": f"{quantile(waits, 0.99) * 1000:.0f}",
        "max_ms": f"{max(waits, default=0) * 1000:.0f}",
        "near_p99_ms": f"{quantile(near, 0.99) * 1000:.0f}",
        "near_max_ms": f"{max(near, default=0) * 1000:.0f}",
        "over": sum(wait > 1.5 for wait in waits),
    }


def main():
    history = check.load(sys.argv[1])
    print(" ".join(f"{key}={value}" for key, value in measure(history).items()))


if __name__ == "__main__":
    main()
