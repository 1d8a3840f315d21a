"""tests/evidence: the page of evidence is made of records alone, and says what is missing."""
import importlib.util
import json
import re
import sys

import pytest

import toolchain as t

HERE = t.ROOT / "tests" / "evidence"


@pytest.fixture(scope="module")
def evidence():
    sys.path.insert(0, str(HERE))
    spec = importlib.util.spec_from_file_location("evidence", HERE / "evidence.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(HERE))


@pytest.fixture(scope="module")
def page(evidence):
    import page
    return page


def bench_record(**changes):
    figures = {"bucket_take": {"value": 25.0, "unit": "ns", "floor": 24.0, "ratio": 1.042},
               "bucket_refusal": {"value": 21.5, "unit": "ns", "floor": 19.0, "ratio": 1.132},
               "trace_bucket_rlimit_told": {"value": 0.9998, "unit": "utilisation", "floor": 1.0, "ratio": 0.9998, "rejected": 0.0}}
    figures.update(changes)
    return {"result": {"ok": True, "figures": figures, "skipped": ["clock_tsc skipped: no"]}, "load": 0.1, "seconds": 9,
            "machine": {"processor": "P", "cores": 2, "system": "S", "kernel": "1.2"}}


def test_a_page_of_nothing_says_so(page):
    text = page.page_of({})
    assert text.count("Not run: left out.") == len(page.SECTIONS) and "Not measured: left out." in text


def test_goals_met_missed_and_not_measured(page):
    text = page.page_of({"bench": bench_record()})
    rows = {line.split(" | ")[0][2:]: line for line in text.splitlines() if line.startswith("| ")}
    assert "| yes |" in next(row for name, row in rows.items() if name.startswith("bucket: take"))
    refusal = next(row for name, row in rows.items() if name.startswith("bucket: refusal"))
    assert "**no**" in refusal and "21.5 ns over 19: 1.13" in refusal
    assert "not measured" in next(row for name, row in rows.items() if name.startswith("shared file"))
    assert "not measured in full" in next(row for name, row in rows.items() if name.startswith("quota used"))
    assert re.search(r"Missed: bucket: refusal[^.;]*\.", text)


def test_what_failed_is_told(page):
    it = {"ok": False, "scenarios": 3, "executions": 1234567, "kill_scenarios": 2, "kill_executions": 7, "bounds": [(2, 1)], "kill_bounds": [], "faults": 5, "faults_found": 4}
    text = page.page_of({"explore": {"result": it, "seconds": 1, "machine": bench_record()["machine"]}})
    assert "**Failed.**" in text and "1,234,567" in text and "4 found" in text
    assert "2 through all, 1 with at most 2 preemptions" in text


def test_a_step_is_kept_while_its_files_are_the_same(evidence, tmp_path, monkeypatch):
    source, runs = tmp_path / "a.h", []
    source.write_text("1")
    monkeypatch.setattr(evidence, "ROOT", tmp_path)
    monkeypatch.setattr(evidence, "WORK", tmp_path / "work")
    monkeypatch.setattr(evidence, "STEPS", {"one": (lambda: runs.append(1) or {"ok": True}, ["*.h"])})
    evidence.take_step("one", False)
    evidence.take_step("one", False)
    assert len(runs) == 1
    evidence.take_step("one", True)
    source.write_text("2")
    record = evidence.take_step("one", False)
    assert len(runs) == 3 and record["result"] == {"ok": True}
    assert json.loads((tmp_path / "work" / "one.json").read_text())["sum"] == record["sum"]


def test_a_step_that_cannot_run_says_why_and_is_tried_again(evidence, tmp_path, monkeypatch):
    def step():
        raise evidence.Absent("no tool")
    monkeypatch.setattr(evidence, "ROOT", tmp_path)
    monkeypatch.setattr(evidence, "WORK", tmp_path / "work")
    monkeypatch.setattr(evidence, "STEPS", {"one": (step, ["*.h"])})
    assert evidence.take_step("one", False)["absent"] == "no tool"
    monkeypatch.setattr(evidence, "STEPS", {"one": (lambda: {"ok": True}, ["*.h"])})
    assert evidence.take_step("one", False)["result"]["ok"]


def test_patterns_name_files(evidence):
    """A pattern that matches nothing would keep a record for ever."""
    for name, (_, patterns) in evidence.STEPS.items():
        for pattern in patterns:
            assert any(path.is_file() for path in t.ROOT.glob(pattern)), (name, pattern)


def test_every_goal_is_named_as_bench_names_it():
    """The names of `make bench` that goals refer to stand in its sources."""
    sys.path.insert(0, str(HERE))
    try:
        from page import GOALS
    finally:
        sys.path.remove(str(HERE))
    text = "\n".join(path.read_text() for path in [*(t.ROOT / "bench").glob("*.[cp]*"), t.ROOT / "bench" / "node" / "bench.mjs"])
    for _, _, names, _ in GOALS:
        for name in names:
            if name != "shared_take" and not name.startswith("trace_"):
                assert '"%s"' % name.replace("feedback_", "") in text or "'%s'" % name in text, name
