#!/usr/bin/env python3
"""Asks Asterisk again and again which channels it has, for scripts/soak.

    sampler.py HOST:PORT SECONDS <password >samples      (user capconduit)

A line for each look: when the question was sent, then `endpoint:channel id` for each PJSIP channel. A channel whose
state changes while Asterisk makes its list is in that list twice, with one id: it is written once. No line where
Asterisk does not answer.
"""

import base64
import http.client
import json
import re
import sys
import time

NAME = re.compile(r"^PJSIP/(.+)-[0-9a-f]+$")


def line(asked, channels):
    seen = set()
    for channel in channels:
        match = NAME.match(channel.get("name", ""))
        if match:
            seen.add(f"{match.group(1)}:{channel['id']}")
    return " ".join([f"{asked:.3f}", *sorted(seen)])


def main(address, pause):
    host, _, port = address.rpartition(":")
    password = sys.stdin.readline().strip()
    secret = base64.b64encode(f"capconduit:{password}".encode()).decode()
    connection = None
    while True:
        asked = time.time()
        try:
            if connection is None:
                connection = http.client.HTTPConnection(host, int(port), timeout=2)
            connection.request("GET", "/ari/channels", headers={"Authorization": f"Basic {secret}"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == 200:
                print(line(asked, json.loads(body)), flush=True)
        except (OSError, http.client.HTTPException, ValueError):
            if connection is not None:
                connection.close()
            connection = None
        time.sleep(pause)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
