"""Printed text: values that differ in every run do not count, everything else does."""

from __future__ import annotations

import pytest

from nbtape.replay.compare.printed_text import collapse_stream, compare_texts
from nbtape.replay.compare.settings import RULES, Context, ReplaySettings, Terms

#: 2026-03-05 14:00:00 UTC, and two days and one hour later.
BEGAN = 1772719200.0
LATER = BEGAN + 3600 + 2 * 86400
RECORDED = Context(BEGAN, BEGAN + 10, "/home/ann/work", 0)
REPLAYED = Context(LATER, LATER + 10, "/srv/replay", 3600)


def verdict(old: str, new: str, terms: Terms | None = None) -> str:
    return compare_texts(old, new, terms or Terms(RECORDED, REPLAYED)).verdict


SLOWEST = (
    "The slowest run took 4.53 times longer than the fastest. This could mean that an intermediate result is being "
    "cached."
)
WORST = (
    ":0: UserWarning: The test results are likely unreliable. The worst time (100 nsec) was more than four times "
    "slower than the best time (17.5 nsec)."
)
COSMETIC = [
    ("<a.B object at 0x7f0123456789>", "<a.B object at 0x7fabcdef0123>"),
    ("2026-03-05 14:00:03,123 INFO ok", "2026-03-07 16:00:04,999 INFO ok"),
    ("2026-03-05T14:00:03Z", "2026-03-07T15:00:03+00:00"),
    ("2026-03-05T14:00:03+00:00", "2026-03-07T10:00:03-05:00"),
    ("Thu Mar  5 14:00:03 2026", "Sat Mar  7 15:00:09 2026"),
    ("Thu Mar  5 14:00:03 UTC 2026", "Sat Mar  7 15:00:09 UTC 2026"),
    ("Thu, 05 Mar 2026 14:00:03 +0000", "Sat, 07 Mar 2026 15:00:09 +0000"),
    ("Date: Thu, 05 Mar 2026", "Date: Sat, 07 Mar 2026"),
    ("as of 2026-03-05", "as of 2026-03-07"),
    ("14:00:05 start", "16:00:05 start"),
    ("1772719203.25", "1772895603"[:10] + ".5"),
    ("1772719203123", "1772895603999"),
    ("datetime.datetime(2026, 3, 5, 14, 0, 3, 1)", "datetime.datetime(2026, 3, 7, 16, 0, 3, 2)"),
    ("run_20260305_140003.log", "run_20260307_160003.log"),
    ("Wall time: 12.3 ms", "Wall time: 1min 3s"),
    ("CPU times: user 1 ms, sys: 0 ns, total: 1 ms", "CPU times: user 2 s, sys: 3 ms, total: 2 s"),
    ("1.2 ms ± 3 µs per loop (mean ± std. dev. of 7 runs, 1,000 loops each)",
     "999 µs ± 12.1 µs per loop (mean ± std. dev. of 7 runs, 10,000 loops each)"),
    ("elapsed: 1.23 s", "elapsed: 12.3 s"),
    ("Elapsed time: 0:00:01.123", "Elapsed time: 0:00:02.001"),
    ("took 1m 3s", "took 2m3s"),
    ("fit took 3.1 s for 7 rows", "fit took 2.9 s for 7 rows"),
    ("===== 5 passed in 1.23s =====", "===== 5 passed in 2.05s ====="),
    ("Ran 3 tests in 0.001s", "Ran 3 tests in 0.012s"),
    ("[CV 1/2] END .....max_depth=1;, score=0.667 total time=   0.0s",
     "[CV 1/2] END .....max_depth=1;, score=0.667 total time=   1.4s"),
    ("[Pipeline] ............. (step 1 of 2) Processing scale, total=   0.0s",
     "[Pipeline] ............. (step 1 of 2) Processing scale, total=   0.3s"),
    ("[Parallel(n_jobs=1)]: Done   5 out of   5 | elapsed:    0.0s finished",
     "[Parallel(n_jobs=1)]: Done   5 out of   5 | elapsed:    1.0s finished"),
    ("3/3 ━━━━ 0s 12ms/step - loss: 0.5312", "3/3 ━━━━ 2s 712ms/step - loss: 0.5312"),
    ("{'fit_time': array([0.001, 0.002]), 'test_score': array([0.9, 0.8])}",
     "{'fit_time': array([0.003, 0.001]), 'test_score': array([0.9, 0.8])}"),
    ("/tmp/tmpab12cd_9/a.csv", "/tmp/tmpzz99kk00/a.csv"),
    ("/tmp/ipykernel_12/345.py:3: UserWarning: x", "/tmp/ipykernel_99/111.py:3: UserWarning: x"),
    ("/home/ann/venv/lib/python3.11/site-packages/a/b.py:7", "/opt/x/site-packages/a/b.py:7"),
    ("saved /home/ann/work/out.csv", "saved /srv/replay/out.csv"),
    ("Cell In[5], line 1", "Cell In[12], line 1"),
    ("{'a', 'b', 'c'}", "{'c', 'a', 'b'}"),
    ("{'k': {2, 1}, 'l': frozenset({'x', 'y'})}", "{'k': {1, 2}, 'l': frozenset({'y', 'x'})}"),
    ("total 7  \n", "total 7"),
    ("a\r\nb", "a\nb"),
    ("\x1b[31mred\x1b[0m", "red"),
    ("a:  50%|█████     | 5/10 [00:01<00:01, 5.0it/s]\na: 100%|██| 10/10 [00:02<00:00, 5.0it/s]",
     "a: 100%|██████████| 10/10 [00:01<00:00, 9.0it/s]"),
    ("7it [00:00, 93.89it/s]", "7it [00:01,  5.1it/s]"),
    ("size: 1 1e+03 ns ± 3 ns per loop (mean ± std. dev. of 7 runs, 1,000 loops each)",
     "size: 1 999 ns ± 12.1 ns per loop (mean ± std. dev. of 7 runs, 10,000 loops each)"),
    ("1.2 ms +- 3 us per loop (mean +- std. dev. of 7 runs, 1 loop each)",
     "1.3 ms +- 4 us per loop (mean +- std. dev. of 7 runs, 10 loops each)"),
    ("<TimeitResult : 1.2 ms ± 3 µs per loop (mean ± std. dev. of 7 runs, 10 loops each)>",
     "<TimeitResult : 1.4 ms ± 1 µs per loop (mean ± std. dev. of 7 runs, 10 loops each)>"),
    (f"a: {SLOWEST}\n1.2 ms ± 3 µs per loop (mean ± std. dev. of 7 runs, 10 loops each)",
     "a: 1.4 ms ± 1 µs per loop (mean ± std. dev. of 7 runs, 10 loops each)"),
    ("<ExecutionResult object at 7f0123456789, execution_count=1>",
     "<ExecutionResult object at 7fabcdef0123, execution_count=1>"),
    (f"a\n{WORST}\n10 loops, best of 3: 17.5 nsec per loop",
     "a\n10 loops, best of 3: 1.03 usec per loop"),
    ("<Thread(loader, started daemon 140297414335360)>", "<Thread(loader, started daemon 140439158573952)>"),
    ("<_MainThread(MainThread, started 140297414335360)>", "<_MainThread(MainThread, started 140439158573952)>"),
    ("<ExecutionInfo object at 104d3c5e0>", "<ExecutionInfo object at 123456789>"),
]  # fmt: skip
DIFFERENT = [
    ("0x7f0123456789", "0x7fabcdef0123"),
    ("2026-03-05 14:00:03", "2026-03-06 16:00:04"),
    ("2026-03-04", "2026-03-07"),
    ("2026-03-05", "2026-03-06"),
    ("2026-03-01 to 2026-03-05", "2026-03-02 to 2026-03-07"),
    ("14:00:05", "17:00:05"),
    ("1772719203", "1772719204"),
    ("1.5 s", "1.6 s"),
    ("after 3 s", "after 4 s"),
    ("price 24.990", "price 24.991"),
    ("12.500%", "12.501%"),
    ("100%|x| 5/10 [note 7]", "100%|x| 5/10 [note 8]"),
    ("the wall is 3.5 m", "the wall is 3.6 m"),
    ("ETA: 0.05", "ETA: 0.06"),
    ("Bolt ran 100m in 9.58 s", "Bolt ran 100m in 9.63 s"),
    ("the film's runtime: 120 min", "the film's runtime: 121 min"),
    ("duration: 5.25 s", "duration: 5.75 s"),
    ("the trip took 3 days", "the trip took 4 days"),
    ("he took 3 pills", "he took 4 pills"),
    ("elapsed: 3 of 5", "elapsed: 4 of 5"),
    ("5 passed in 1.2s", "6 passed in 1.2s"),
    ("network 12.3 MB/s", "network 12.4 MB/s"),
    ("/tmp/tmpab12cd_9 /tmp/tmpab12cd_9", "/tmp/tmpzz99kk00 /tmp/tmpqq99kk00"),
    ("/tmp/tmp_results", "/tmp/tmp_summary"),
    ("tmpdownload", "tmpbackups1"),
    ("/data/site-packages/a.py", "/data/site-packages/b.py"),
    ("{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}"),
    ("['a', 'b']", "['b', 'a']"),
    ("{a, b}", "{b, a}"),
    ("p {color: red, blue}", "p {blue, color: red}"),
    ("{'a', 'b'} {'c', 'd'}", "{'c', 'd'} {'a', 'b'}"),
    ("{1, 2}", "{1, 3}"),
    ("17 rows", "18 rows"),
    ("$12345.678", "$12345.679"),
    ("12345.678 EUR", "12345.679 EUR"),
    ("12345.67", "12345.68"),
    ("1.234567", "1.234667"),
    ("1.0000001", "1"),
    ("2460636.500", "2460637.500"),
    ("5.123456 km", "5.123456 mi"),
    ("1.2.3456789", "1.2.3456780"),
    ("v1.2345678", "v1.2345679"),
    ("commit 1e5f3a2", "commit 1e5f3a3"),
    ("12e4567", "13e4567"),
    ("10.0.0.1", "10.0.0.2"),
    ("12:34:56.789012", "12:34:56.789013"),
    ("1e-20", "1e-21"),
    ("a b", "a  b"),
    ("at 0x7f0123456789\nx   7          \n", "at 0x7f0123456780\nx             7"),
    ("0.12345678\n  7        8", "0.12345679\n  7   8"),
    ("a\nb", "a\nb\nc"),
    ("a\n\nb", "a\nb"),
    ("  x", "x"),
    ("a: 100%|██| 10/10 [00:02<00:00, 5.0it/s]", "a: 100%|██| 11/11 [00:02<00:00, 5.0it/s]"),
    ("a: 100%|██| 10/10 [00:02<00:00, 5.0it/s]", "a:  90%|█▊| 9/10 [00:02<00:00, 5.0it/s]"),
    ("a: 100%|██| 5/5 [00:02<00:00, 5.0it/s]\na: 100%|██| 5/5 [00:02<00:00, 5.0it/s]",
     "a: 100%|██| 5/5 [00:02<00:00, 5.0it/s]"),
    ("Writing a.txt", "Overwriting a.txt"),
    ("Wall time: 7 rows", "Wall time: 8 rows"),
    ("CPU times: user 7 rows, sys: 1, total: 2", "CPU times: user 8 rows, sys: 1, total: 2"),
    ("size: 1 3 ms ± 1 ms per loop (mean ± std. dev. of 7 runs, 1 loop each)",
     "size: 2 3 ms ± 1 ms per loop (mean ± std. dev. of 7 runs, 1 loop each)"),
    ("3 ms ± 1 ms per loop (mean ± std. dev. of 7 runs, 1 loop each)",
     "3 ms ± 1 ms per loop (mean ± std. dev. of 8 runs, 1 loop each)"),
    ("12 ± 3 per loop", "13 ± 3 per loop"),
    ("the race, started 1402, was won", "the race, started 1403, was won"),
    ("<Thread(loader, started 140297414335360)>", "<Thread(saver, started 140439158573952)>"),
    (":0: UserWarning: The test results are likely unreliable. Trust 3.",
     ":0: UserWarning: The test results are likely unreliable. Trust 4."),
    ("the slowest run took 4 steps", "the slowest run took 5 steps"),
    ("The slowest run took 4 times longer than the fastest. It won.",
     "The slowest run took 4 times longer than the fastest. It lost."),
    ("<Star object at 18036561>", "<Star object at 18036562>"),
    ("the object at decade1 fell", "the object at facade1 fell"),
    ("<DisplayHandle display_id=total>", "<DisplayHandle display_id=sum>"),
    ("4f3f289869e345daa20ac4e87987dbce", "0b5c1a526f0c4c9b9d535d5b3f7d7c11"),
    ("⟦duration⟧ 1", "⟦duration⟧ 2"),
    ("⟦wrote⟧ 1", "⟦wrote⟧ 2"),
    ("elapsed: ⟦duration⟧", "elapsed: 1.23 s"),
]  # fmt: skip
DRIFT = [
    ("0.30000000000000004", "0.3"),
    ("1.23456789", "1.23456790"),
    ("0.123457", "0.123456"),
    ("[ 0.12345678 -1.5e-05]", "[0.12345679 -1.50000001e-05]"),
    ("-0.0", "0.0"),
    ("a 1.2345678\n-----\nb", "a 1.2345679\n------\nb"),
]


@pytest.mark.parametrize(("old", "new"), COSMETIC)
def test_values_that_differ_in_every_run_are_cosmetic(old: str, new: str) -> None:
    assert verdict(old, new) == "cosmetic"


@pytest.mark.parametrize(("old", "new"), DIFFERENT)
def test_changes_that_matter_to_an_analyst_are_different(old: str, new: str) -> None:
    assert verdict(old, new) == "different"
    assert verdict(new, old, Terms(REPLAYED, RECORDED)) == "different"


@pytest.mark.parametrize(("old", "new"), DRIFT)
def test_rounding_noise_is_drift(old: str, new: str) -> None:
    assert verdict(old, new) == verdict(new, old) == "drift"


@pytest.mark.parametrize(("old", "new"), COSMETIC)
def test_without_the_rules_cosmetic_values_are_different(old: str, new: str) -> None:
    assert verdict(old, new, Terms(RECORDED, REPLAYED, ReplaySettings(cosmetic=frozenset()))) in {"different", "drift"}


def test_without_time_windows_no_time_is_cosmetic() -> None:
    assert verdict("2026-03-05 14:00:03", "2026-03-07 16:00:04", Terms()) == "different"
    assert verdict("2026-03-05 14:00:03", "2026-03-07 16:00:04", Terms(RECORDED, Context())) == "different"


def test_without_the_recorded_window_only_a_full_timestamp_is_cosmetic() -> None:
    terms = Terms(Context(), REPLAYED)
    assert verdict("2026-03-05 14:00:03", "2026-03-07 16:00:04", terms) == "cosmetic"
    assert verdict("2026-03-05", "2026-03-07", terms) == "different"
    assert verdict("14:00:03", "16:00:04", terms) == "different"


def test_a_time_of_day_is_not_cosmetic_for_a_cell_that_ran_for_hours() -> None:
    hours = Terms(Context(BEGAN, BEGAN + 9 * 3600, "", 0), Context(LATER, LATER + 9 * 3600, "", 0))
    assert verdict("18:00:00", "19:00:00", hours) == "different"


def test_an_equal_line_with_a_time_is_equal() -> None:
    assert verdict("2026-03-05 14:00:03\nat 0x7f0123456789", "2026-03-05 14:00:03\nat 0x7f0123456780") == "cosmetic"


def test_patterns_given_by_the_caller_do_not_count() -> None:
    terms = Terms(settings=ReplaySettings(extra=(r"job \d+",)))
    assert verdict("job 17 done", "job 18 done", terms) == "cosmetic"
    assert verdict("job 17 done", "job 18 failed", terms) == "different"


def test_a_reason_is_short_and_shows_the_difference() -> None:
    judgement = compare_texts("x\n" + "a" * 900 + "1", "x\n" + "a" * 900 + "2", Terms())
    assert "a1 / +" in judgement.reason
    assert len(judgement.reason) < 250


def test_every_rule_is_named() -> None:
    assert len(RULES) == 12


def test_a_stream_is_compared_as_a_terminal_shows_it() -> None:
    assert collapse_stream("10%\r20%\ndone") == "20%\ndone"


HOSTILE = [
    "{" * 100_000,
    "{1, " * 20_000 + "}" * 20_000,
    "{" + "-" * 15_000 + "1, 2}",
    "{" + "1+" * 9_000 + "1, 2}",
    "{'a', " * 4_000,
    "[" * 90_000 + "]" * 90_000,
    "0" * 200_000,
    "1." * 100_000,
    "1:" * 100_000,
    "took " * 40_000,
    "elapsed" + " " * 40_000 + "x",
    "%|" * 60_000 + "[",
    "| [" * 40_000 + "]",
    "a: 1% | | 1/2 [" + ", " * 30_000 + "]",
    "/" * 100_000 + "site-packages",
    "/x" * 20_000 + "/lib/python3",
    "\x1b[" * 100_000,
    "\x1b]" * 100_000,
    "\r" * 100_000,
    "\b\r" * 50_000,
    " " * 45_000 + "x",
    "-" * 45_000 + "x",
    "⟦" * 100_000,
    "2026-03-05 " * 4_000,
    "9999-99-99 99:99:99 +9999",
    "0000-00-00",
    "1e+999 1e-999",
    "[CV" + " total time=" * 4_000,
    "Jan " * 10_000,
    "3/3 " * 10_000,
    "\n" * 500_000,
    "at 0x" * 50_000,
]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:12]))
def test_hostile_text_is_compared_quickly(text: str) -> None:
    assert verdict(text, text) == "same"
    verdict(text, text + "1")
    verdict("1" + text, text + "\n2")
    verdict(text + " 2026-03-05 14:00:03 1.5", text + " 2026-03-07 16:00:04 1.6")
