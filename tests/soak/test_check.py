"""The checker finds what is planted, excuses only what nobody could know, and reads sipp's logs."""

import copy
import unittest

import check
from check import Call, Event, History, Leg


def link(number, endpoint, cap, total, allowed=None):
    return {"id": number, "endpoint": endpoint, "max_concurrency": cap, "total_calls_allowed": allowed,
            "current_total_calls": total, "held": 0, "confirmed": 0}


def row(number, caller, status, at, **more):
    return {"id": number, "caller_id_num": caller, "incoming_did_number": "+1555", "started": at, "answered": None,
            "ended": at + 5, "duration_seconds": 5, "billsec_seconds": 0, "call_status": status, "endpoint": "",
            "link_id": "", "attempts": "0", "refusal_reason": "", "hangup_cause_code": "", "asterisk_uniqueid": "",
            **more}


def attempt(call, endpoint, link_id, outcome, status, at):
    return {"call_id": call, "attempt": "1", "endpoint_id": endpoint, "link_id": link_id, "offered": at,
            "answered": None, "ended": at + 5, "outcome": outcome, "dial_status": status}


def history():
    """Four calls: answered by `desk`, busy at `full`, given up at `desk`, answered by the fallback."""
    return History(
        calls=[
            Call("+1", "+1555", "hold", 5000, 100.0, 100.01, None, 200, 100.2, None, 105.2, "caller"),
            Call("+2", "+1555", "hold", 5000, 110.0, 110.01, None, 486, 110.2, None, 110.2, "refused"),
            Call("+3", "+1555", "cancel", 500, 120.0, 120.01, None, 487, 120.6, 120.5, 120.6, "refused"),
            Call("+4", "+1555", "hold", 5000, 130.0, 130.01, None, 200, 133.2, None, 138.2, "caller"),
        ],
        legs=[
            Leg("a", "desk", "+1", 100.1, True, 200, 100.19, True, 105.21, 105.22),
            Leg("b", "full", "+2", 110.1, False, 486, 110.11, True, 110.11, 110.12),
            Leg("c", "desk", "+3", 120.1, True, 487, 120.52, True, 120.51, 120.53),
            Leg("d", "fallback", "+4", 133.1, True, 200, 133.19, True, 138.21, 138.22),
        ],
        samples=[(101.0, [("trunk", "1.0"), ("desk", "1.1")]), (121.0, [("desk", "1.5")])],
        rows=[
            row("1", "+1", "ANSWERED", 100.0, endpoint="desk", link_id="7", billsec_seconds=5),
            row("2", "+2", "BUSY", 110.0),
            row("3", "+3", "ABANDONED", 120.0),
            row("4", "+4", "ANSWERED", 130.0, duration_seconds=8, billsec_seconds=5, ended=138.2),
        ],
        attempts=[
            attempt("1", "desk", "7", "answered", "ANSWER", 100.0),
            attempt("2", "full", "8", "failed", "BUSY", 110.0),
            attempt("3", "desk", "7", "abandoned", "CANCEL", 120.0),
        ],
        links=[link("7", "desk", 1, 1), link("8", "full", 2, 0)],
        drift={"one": "0", "two": "0"},
    )


def kinds(changed):
    return sorted({fault.kind for fault in check.check(changed).faults})


class Checker(unittest.TestCase):
    def setUp(self):
        self.history = history()

    def test_a_sound_history_has_no_fault(self):
        verdict = check.check(self.history)
        self.assertEqual(verdict.faults, [])
        self.assertEqual(verdict.excused, {})
        self.assertEqual(verdict.counts["answered by the fallback"], 1)

    def test_each_fault_that_it_plants_itself_is_found(self):
        planted, missed = check.prove(self.history, check.check(self.history))
        self.assertEqual(missed, [])
        self.assertGreaterEqual(len(planted), 17)

    def test_planted_faults_are_told_from_the_same_faults_of_other_calls(self):
        for n in range(5):
            again = dict(self.history.rows[0], id=f"1{n}", caller_id_num=f"+1{n}", call_status="FAILED")
            self.history.calls.append(Call(f"+1{n}", "+1555", "hold", 0, 100.0, 100.01, None, 200, 100.2, None, 105.2))
            self.history.legs.append(Leg(f"z{n}", "desk", f"+1{n}", 100.1, False, 200, 100.1, True, 100.1, 100.1))
            self.history.rows.append(again)
        _, missed = check.prove(self.history, check.check(self.history))
        self.assertNotIn("an answered call is logged FAILED", missed)

    def test_a_checker_that_is_blind_does_not_pass(self):
        seen = check.check_caps
        check.check_caps = lambda *_: None
        try:
            _, missed = check.prove(self.history, check.check(self.history))
        finally:
            check.check_caps = seen
        self.assertIn("a channel too many at one look", missed)

    def test_a_missing_row_is_found(self):
        for missing in range(4):
            changed = copy.deepcopy(self.history)
            del changed.rows[missing]
            self.assertIn("not logged", kinds(changed), missing)

    def test_a_second_row_is_found(self):
        self.history.rows.append(dict(self.history.rows[1], id="9"))
        self.assertEqual(kinds(self.history), ["logged twice"])

    def test_wrong_outcomes_are_found(self):
        for index, changes in [
            (0, {"call_status": "FAILED"}), (0, {"call_status": "ABANDONED"}), (0, {"endpoint": "full"}),
            (0, {"endpoint": ""}), (1, {"call_status": "ANSWERED"}), (1, {"call_status": "ABANDONED"}),
            (2, {"call_status": "NOANSWER"}), (2, {"call_status": "REJECTED_CC", "started": 121.0}), (2, {"call_status": "ANSWERED", "endpoint": "desk"}),
            (3, {"endpoint": "desk"}), (3, {"call_status": "REJECTED_CC"}),
        ]:
            changed = copy.deepcopy(self.history)
            changed.rows[index].update(changes)
            self.assertIn("wrong outcome", kinds(changed), (index, changes))

    def test_a_target_that_never_rang_and_one_without_a_slot_are_found(self):
        changed = copy.deepcopy(self.history)
        changed.attempts.append(attempt("2", "desk", "7", "failed", "BUSY", 110.2))
        self.assertEqual(kinds(changed), ["never called"])
        self.history.attempts.pop(1)
        self.assertEqual(kinds(self.history), ["called without a slot"])

    def test_one_channel_too_many_is_found_and_one_that_is_listed_twice_is_not(self):
        self.history.samples.append((102.0, [("desk", "1.1"), ("desk", "1.1")]))
        self.assertEqual(kinds(self.history), [])
        self.history.samples.append((102.1, [("desk", "1.1"), ("desk", "1.9")]))
        self.assertEqual(kinds(self.history), ["cap passed"])

    def test_one_call_too_many_at_a_centre_is_found_between_two_looks(self):
        self.history.calls.append(Call("+5", "+1555", "cancel", 0, 105.1, 105.11, None, 487, 105.3, 105.25, 105.3, "refused"))
        self.history.rows.append(row("5", "+5", "ABANDONED", 105.1))
        self.history.attempts.append(attempt("5", "desk", "7", "abandoned", "CANCEL", 105.1))
        self.history.legs.append(Leg("e", "desk", "+5", 105.2, True, 487, 105.3, True, 105.29, 105.3))
        self.assertEqual(kinds(self.history), ["cap passed at the centre"])

    def test_counters_totals_and_left_overs_are_found(self):
        for number, name, value, kind in [(0, "current_total_calls", 2, "totals"), (0, "held", 1, "left over"),
                                          (1, "confirmed", 1, "left over"), (0, "total_calls_allowed", 0, "total cap passed")]:
            changed = copy.deepcopy(self.history)
            changed.links[number][name] = value
            self.assertEqual(kinds(changed), [kind], name)
        self.history.drift["two"] = "1"
        self.assertEqual(kinds(self.history), ["drift"])

    def test_a_caller_who_is_left_in_silence_is_found(self):
        call = self.history.calls[1]
        call.status = call.final = None
        self.assertIn("no answer to the caller", kinds(self.history))

    def test_who_gives_up_before_the_dialplan_begins_is_known_to_nobody(self):
        self.history.dialplan = {"+1", "+2", "+3", "+4"}
        del self.history.rows[2], self.history.attempts[2], self.history.legs[2]
        self.assertEqual(kinds(self.history), ["not logged"])
        self.history.dialplan.remove("+3")
        self.assertEqual(kinds(self.history), [])
        # Whoever was answered did come that far.
        self.history.dialplan.clear()
        del self.history.rows[2]
        self.assertEqual(kinds(self.history), ["not logged"])

    def test_an_outcome_that_crosses_the_cancel_is_told_by_its_time(self):
        # The call centre answered, and Asterisk heard of it before it heard of the CANCEL.
        self.history.legs[2] = Leg("c", "desk", "+3", 120.1, True, 200, 120.49, True, 120.6, 120.6)
        self.history.rows[2].update(call_status="ANSWERED", endpoint="desk", link_id="7")
        self.history.attempts[2].update(outcome="answered", dial_status="ANSWER")
        self.history.links[0]["current_total_calls"] = 2
        self.assertEqual(kinds(self.history), [])
        self.history.legs[2].acknowledged = False
        self.assertEqual(kinds(self.history), ["wrong outcome"])
        # A refusal that was decided before the caller gave up is one; a later one answers nobody.
        changed = history()
        changed.rows[2].update(call_status="REJECTED_CC", started=120.4)
        self.assertEqual(kinds(changed), [])
        changed.rows[2].update(started=120.9)
        self.assertEqual(kinds(changed), ["wrong outcome"])

    def test_looks_that_nobody_made_prove_nothing(self):
        self.history.samples = []
        self.assertEqual(kinds(self.history), ["no looks"])

    def test_a_call_that_asterisk_took_with_it_may_be_lost_but_not_if_it_was_offered(self):
        for call in self.history.calls[:2]:
            call.status = call.final = call.over = call.over_by = None
        self.history.events = [Event(104.0, 104.1, "asterisk-kill", "asterisk_kill", []),
                               Event(106.0, 107.0, "asterisk-kill", "asterisk_start", []),
                               Event(110.05, 110.1, "asterisk-kill", "asterisk_kill", [])]
        self.history.legs.pop(1)
        self.history.rows.pop(1)
        self.history.attempts.pop(1)
        self.assertEqual(kinds(self.history), [])
        self.assertEqual(check.check(self.history).counts["were in Asterisk when it was killed"], 2)
        # The desk heard of the first one: its claim is in the table.
        self.history.rows.pop(0)
        self.assertIn("not logged", kinds(self.history))

    def test_an_end_that_nobody_heard_is_excused_only_then(self):
        self.history.rows.pop(3)
        self.assertEqual(kinds(self.history), ["not logged"])
        down = [Event(137.0, 137.1, "daemon-kill", "daemon_kill", ["one"]),
                Event(137.2, 137.3, "daemon-kill", "daemon_kill", ["two"]),
                Event(140.0, 140.1, "daemon-kill", "daemon_start", ["one"]),
                Event(141.0, 141.1, "daemon-kill", "daemon_start", ["two"])]
        self.history.events = down
        verdict = check.check(self.history)
        self.assertEqual(verdict.faults, [])
        self.assertEqual(list(verdict.excused), ["+4"])
        self.assertEqual(verdict.counts["excused: no row"], 1)
        # One daemon is enough to be told.
        self.history.events = [down[0], down[2]]
        self.history.calls[3].over = 139.5
        self.assertEqual(kinds(self.history), ["not logged"])

    def test_a_daemon_that_dies_after_a_standstill_takes_its_reports_with_it(self):
        self.history.rows.pop(3)
        self.history.events = [Event(134.0, 134.1, "daemon-stop", "daemon_freeze", ["one"]),
                               Event(145.0, 145.1, "daemon-stop", "daemon_thaw", ["one"]),
                               Event(144.0, 144.1, "daemon-kill", "daemon_kill", ["one"]),
                               Event(146.0, 146.1, "daemon-kill", "daemon_start", ["one"])]
        self.assertEqual(kinds(self.history), [])
        # Standing still alone is no excuse: the report waits.
        self.history.events = self.history.events[:2]
        self.assertEqual(kinds(self.history), ["not logged"])

    def test_an_excused_call_may_not_be_logged_for_somebody_else(self):
        self.history.events = [Event(105.0, 105.1, "daemon-kill", "daemon_kill", ["one"]),
                               Event(106.0, 106.1, "daemon-kill", "daemon_start", ["one"])]
        self.history.rows[0].update(call_status="FAILED", endpoint="", link_id="")
        self.history.attempts[0]["outcome"] = "lost"
        self.history.links[0]["current_total_calls"] = 0
        self.assertEqual(kinds(self.history), [])
        self.history.rows[0].update(call_status="ANSWERED", endpoint="full", link_id="8")
        self.assertIn("wrong outcome", kinds(self.history))

    def test_the_guilty_call_is_told_with_all_that_is_known(self):
        text = "\n".join(check.story(self.history, "+1"))
        for part in ["+1 to +1555", "taken", "desk called", "row 1: ANSWERED desk", "attempt 1: desk"]:
            self.assertIn(part, text)


class Sipp(unittest.TestCase):
    """Lines as sipp 3.7 writes them."""

    def lines(self, *lines):
        result = []
        for at, sent, call_id, method, first in lines:
            result.append((at, sent, call_id, method, first))
        return result

    def test_what_the_carrier_sees(self):
        calls = {"hold-1@x": Call("+1", "+1555", "hold"), "hold-2@x": Call("+2", "+1555", "hold"),
                 "hold-3@x": Call("+3", "+1555", "hold")}
        check.hear_carrier(calls, self.lines(
            (1.0, True, "hold-1@x", "INVITE", "INVITE sip:+1555@127.0.0.1:5060 SIP/2.0"),
            (1.1, False, "hold-1@x", "INVITE", "SIP/2.0 100 Trying"),
            (1.15, False, "hold-1@x", "INVITE", "SIP/2.0 180 Ringing"),
            (1.2, False, "hold-1@x", "INVITE", "SIP/2.0 200 OK"),
            (1.2, True, "hold-1@x", "ACK", "ACK sip:x SIP/2.0"),
            (2.0, False, "hold-1@x", "BYE", "BYE sip:x SIP/2.0"),
            (2.0, True, "hold-1@x", "BYE", "SIP/2.0 200 OK"),
            (3.0, True, "hold-2@x", "INVITE", "INVITE sip:+1555@127.0.0.1:5060 SIP/2.0"),
            (3.5, True, "hold-2@x", "INVITE", "INVITE sip:+1555@127.0.0.1:5060 SIP/2.0"),
            (4.0, True, "hold-3@x", "INVITE", "INVITE sip:+1555@127.0.0.1:5060 SIP/2.0"),
            (4.1, False, "hold-3@x", "INVITE", "SIP/2.0 100 Trying"),
            (4.2, True, "hold-3@x", "CANCEL", "CANCEL sip:+1555@127.0.0.1:5060 SIP/2.0"),
            (4.3, False, "hold-3@x", "CANCEL", "SIP/2.0 200 OK"),
            (4.4, False, "hold-3@x", "INVITE", "SIP/2.0 487 Request Terminated"),
            (4.4, True, "hold-3@x", "ACK", "ACK sip:x SIP/2.0")))
        one, two, three = calls.values()
        self.assertEqual((one.taken, one.rang, one.status, one.final, one.over, one.over_by), (1.1, 1.15, 200, 1.2, 2.0, "callee"))
        self.assertEqual((two.invited, two.taken, two.status), (3.0, None, None))
        self.assertEqual((three.cancelled, three.status, three.over), (4.2, 487, 4.4))

    def test_what_a_call_centre_sees(self):
        legs = {}
        check.hear_centre(legs, self.lines(
            (1.0, False, "a", "INVITE", "INVITE sip:p-first@127.0.0.1:24514;transport=udp SIP/2.0"),
            (1.1, True, "a", "INVITE", "SIP/2.0 180 Ringing"),
            (1.2, True, "a", "INVITE", "SIP/2.0 200 OK"),
            (1.3, False, "a", "ACK", "ACK sip:127.0.0.1:24514 SIP/2.0"),
            (2.0, False, "a", "BYE", "BYE sip:127.0.0.1:24514 SIP/2.0"),
            (2.0, True, "a", "BYE", "SIP/2.0 200 OK"),
            (3.0, False, "b", "INVITE", "INVITE sip:s-silent@127.0.0.1:24516;transport=udp SIP/2.0"),
            (3.1, True, "b", "INVITE", "SIP/2.0 180 Ringing"),
            (4.0, False, "b", "CANCEL", "CANCEL sip:s-silent@127.0.0.1:24516;transport=udp SIP/2.0"),
            (4.0, True, "b", "CANCEL", "SIP/2.0 200 OK"),
            (4.1, True, "b", "INVITE", "SIP/2.0 487 Request Terminated"),
            (5.0, False, "c", "OPTIONS", "OPTIONS sip:x SIP/2.0")), {"a": "+1"})
        self.assertEqual(list(legs), ["a", "b"])
        self.assertEqual((legs["a"].endpoint, legs["a"].caller, legs["a"].status, legs["a"].acknowledged, legs["a"].over),
                         ("p-first", "+1", 200, True, 2.0))
        self.assertEqual((legs["b"].status, legs["b"].acknowledged, legs["b"].over), (487, False, 4.0))


if __name__ == "__main__":
    unittest.main()
