"""plan_check under ASan and UBSan: rules by table, fixed mutations, libFuzzer for ten seconds."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from csrc.csrc_support import compile_c, run_program

from shim.model import plan
from shim.model.plan import Op

SOURCES = ["plan.c", "lib.c"]


def test_rules_and_mutations(tmp_path: Path) -> None:
    program = compile_c(
        tmp_path / "test_plan", ["test_plan.c", "plan_blob.c"], SOURCES,
        compiler="gcc", sanitize="address,undefined",
    )  # fmt: skip
    output = run_program(program)
    assert "FAIL" not in output
    assert output.splitlines()[-1].startswith("0 failures")


def fuzzer(tmp_path: Path) -> Path:
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("clang is not installed: libFuzzer is a part of it")
    source = tmp_path / "probe.c"
    source.write_text("int LLVMFuzzerTestOneInput(const char *d, long n) { return d && n < 0; }\n")
    probe = [
        clang,
        "-fsanitize=fuzzer,address",
        str(tmp_path / "probe.c"),
        "-o",
        str(tmp_path / "p"),
    ]
    if (result := subprocess.run(probe, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"this clang has no libFuzzer: {result.stderr.splitlines()[-1]}")
    return compile_c(
        tmp_path / "fuzz_plan", ["fuzz_plan.c", "plan_blob.c"], SOURCES,
        compiler="clang", sanitize="fuzzer,address,undefined",
    )  # fmt: skip


def test_fuzzer_finds_nothing_in_ten_seconds(tmp_path: Path) -> None:
    program = fuzzer(tmp_path)
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    command = Op("EXEC", "", list=["/bin/sh", "-c", "exit"], list2=["PATH=/bin"])
    seeds = [
        [command],
        [Op("HOSTNAME", "", str=["host"]), Op("SETGROUPS", "", nums=[0, 1000]), command],
        [Op("MOUNT_FS", "", str=["/tmp", "tmpfs", ""], list=["size=1m"]), command],
        [Op("JOIN_NS", "", fd="net", num=[1 << 30]), command],
    ]
    for i, ops in enumerate(seeds):
        # the first byte is the number of descriptors
        (corpus / f"seed{i}").write_bytes(bytes([len(plan.slots(ops))]) + plan.pack(ops))
    output = run_program(
        program, "-max_total_time=10", "-seed=1", "-max_len=2048", "-rss_limit_mb=1024",
        f"-artifact_prefix={tmp_path}/", str(corpus),
    )  # fmt: skip
    (done,) = [line for line in output.splitlines() if line.startswith("Done ")]
    assert int(done.split()[1]) > 10_000, done
