"""scripts/bench judges: a target that is missed by a hair is missed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

WHERE = Path(__file__).resolve().parents[2] / "scripts/bench.d/report.py"


@pytest.fixture(scope="module")
def report() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_report", WHERE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def results(**changed: float) -> dict[str, dict[str, dict[str, object]]]:
    """Figures that meet every target exactly; `changed` by "section_key"."""
    figures = {
        "hook": {"hook": 1.4, "floor": 1.0, "crun-exec": 5.6, "runc-exec": 16.8},
        "cold": {"shim-exec": 22.0, "runc-exec": 20.0, "shim-run": 33.0, "runc-run": 30.0},
        "verbs": {"python": 6.0, "state": 31.0, "kill": 31.0, "delete": 31.0},
    }
    found: dict[str, dict[str, dict[str, object]]] = {
        section: {
            key: {"title": key, "p50": changed.get(f"{section}_{key}".replace("-", "_"), value)}
            for key, value in rows.items()
        }
        for section, rows in figures.items()
    }
    rest = {"pss_kib": 5859, "switches": 0, "seconds": 10}
    rest |= {key[5:]: int(value) for key, value in changed.items() if key.startswith("rest_")}
    found["rest"] = {"monitor": dict(rest)}
    return found


def test_all_met(report: ModuleType) -> None:
    verdicts = report.verdicts(results())
    assert len(verdicts) == 10
    assert [what for what, _, _, met in verdicts if not met] == []


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({"hook_floor": 0.999}, ["hook / floor"]),
        ({"hook_crun_exec": 5.59}, ["hook / crun-exec"]),
        ({"hook_runc_exec": 16.79}, ["hook / runc-exec"]),
        ({"cold_shim_exec": 22.01}, ["shim-exec / runc-exec"]),
        ({"cold_shim_run": 33.01}, ["shim-run / runc-run"]),
        ({"verbs_kill": 31.1}, ["shim kill - bare python3"]),
        ({"rest_pss_kib": 5860}, ["monitor and spawner, PSS"]),
        ({"rest_switches": 1}, ["wake-ups at rest"]),
    ],
)
def test_one_missed(report: ModuleType, changed: dict[str, float], missed: list[str]) -> None:
    verdicts = report.verdicts(results(**changed))
    assert [what for what, _, _, met in verdicts if not met] == missed


def test_what_was_not_measured_is_not_judged(report: ModuleType) -> None:
    found = results()
    del found["hook"], found["rest"]
    assert len(report.verdicts(found)) == 5
