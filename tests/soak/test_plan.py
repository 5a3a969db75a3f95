"""The same number gives the same run, and no two faults touch the same thing at once."""

import unittest

import plan


class Plan(unittest.TestCase):
    def test_a_seed_always_gives_the_same_calls_and_faults(self):
        self.assertEqual(plan.calls("7", 120, 8), plan.calls("7", 120, 8))
        self.assertEqual(plan.schedule("7", 3600, list(plan.FAULTS)), plan.schedule("7", 3600, list(plan.FAULTS)))
        self.assertNotEqual(plan.schedule("7", 3600, list(plan.FAULTS)), plan.schedule("8", 3600, list(plan.FAULTS)))
        # From one version to the next, too.
        placed, _ = plan.calls("7", 120, 8)
        self.assertEqual(placed["hold"][0], ("+14155000001", "+15550001004", 284))

    def test_every_caller_calls_once(self):
        placed, _ = plan.calls("3", 600, 8)
        callers = [caller for rows in placed.values() for caller, _, _ in rows]
        self.assertEqual(len(callers), len(set(callers)))

    def test_every_fault_comes_in_an_hour_and_all_is_mended_before_the_end(self):
        for seed in range(20):
            lines = plan.schedule(str(seed), 3600, list(plan.FAULTS))
            self.assertEqual({line.split()[0] for _, line in lines}, set(plan.FAULTS))
            self.assertLess(lines[-1][0], 3600)

    def test_a_daemon_is_stopped_only_while_it_runs(self):
        for seed in range(50):
            runs = {"one": True, "two": True}
            database = asterisk = True
            for at, line in plan.schedule(str(seed), 3600, list(plan.FAULTS)):
                _, action, *words = line.split()
                with self.subTest(seed=seed, at=at, line=line):
                    if action in ("daemon_kill", "daemon_term", "daemon_freeze"):
                        self.assertTrue(runs[words[0]])
                        runs[words[0]] = False
                    elif action in ("daemon_start", "daemon_thaw"):
                        self.assertFalse(runs[words[0]])
                        runs[words[0]] = True
                    elif action in ("db_stop", "db_kill"):
                        self.assertTrue(database)
                        database = False
                    elif action in ("db_promote", "db_standby"):
                        self.assertTrue(database)
                    elif action == "db_start":
                        database = True
                    elif action == "asterisk_kill":
                        self.assertTrue(asterisk)
                        asterisk = False
                    elif action == "asterisk_start":
                        asterisk = True
            self.assertTrue(all(runs.values()) and database and asterisk)

    def test_faults_are_chosen_by_name(self):
        self.assertEqual(plan.chosen("none"), [])
        self.assertEqual(plan.chosen("all"), list(plan.FAULTS))
        self.assertEqual(plan.chosen("clock,ari-cut"), ["ari-cut", "clock"])
        self.assertNotIn("clock", plan.chosen("all,-clock"))
        self.assertEqual(plan.schedule("1", 3600, []), [])
        with self.assertRaises(SystemExit):
            plan.chosen("earthquake")


if __name__ == "__main__":
    unittest.main()
