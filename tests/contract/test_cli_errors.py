"""What a failing command line says and returns (CONTRACT.md "Exit status"). No container needed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from shimcli import command, shim

from shim.cli import main as main_module
from shim.cli.main import main
from shim.cli.table import VERBS
from shim.errors import (
    CallerTimeoutError,
    CannotInvokeError,
    CommandNotFoundError,
    NotFoundError,
    ShimError,
    UnsupportedError,
)

ID_VERBS = [name for name, verb in VERBS.items() if any("ID" in part for part in verb.operands)]
PROCESS_VERBS = ("run", "exec", "wait")
REST = {"exec": ["true"]}


def failure(verb: str) -> int:
    return 125 if verb in PROCESS_VERBS else 1


def refuse_id(verb: str, id: str, root: Path) -> None:
    result = shim("--root", str(root), verb, "--", id, *REST.get(verb, []))
    assert result.returncode == failure(verb), result.stderr
    assert result.stdout == ""
    assert "invalid container ID format" in result.stderr
    assert result.stderr.startswith(f"shim: cannot {verb} ")
    assert result.stderr.count("\n") == 1
    assert not root.exists()


def test_every_verb_that_takes_an_id_is_tested() -> None:
    assert {"create", "start", "state", "kill", "delete", "exec", "run", "ps", "pause"} < set(
        ID_VERBS
    )
    assert {"resume", "stop", "events", "hooks", "describe", "wait", "logs"} < set(ID_VERBS)


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "../../x"])
@pytest.mark.parametrize("verb", ID_VERBS)
def test_in_01_ids_that_are_paths_are_rejected(verb: str, id: str, tmp_path: Path) -> None:
    refuse_id(verb, id, tmp_path / "root")


@pytest.mark.parametrize("id", ["a b", "a\nb", "\u00e9", ";rm", "%s%n", "-a", ".a"])
@pytest.mark.parametrize("verb", ID_VERBS)
def test_in_02_ids_of_other_characters_are_rejected(verb: str, id: str, tmp_path: Path) -> None:
    refuse_id(verb, id, tmp_path / "root")


@pytest.mark.parametrize("verb", ID_VERBS)
def test_in_03_ids_are_128_bytes_at_most(verb: str, tmp_path: Path) -> None:
    refuse_id(verb, "x" * 129, tmp_path / "root")


def test_in_03_an_id_of_128_bytes_is_valid(tmp_path: Path) -> None:
    result = shim("--root", str(tmp_path), "state", "x" * 128)
    assert result.returncode == 1
    assert "container does not exist" in result.stderr


def test_delete_force_of_a_path_erases_nothing(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir(mode=0o700)
    (tmp_path / "precious").touch()
    for id in ("..", ".", "../precious"):
        assert shim("--root", str(root), "delete", "--force", id).returncode == 1
    assert (tmp_path / "precious").exists()
    assert root.exists()


READ_VERBS = ("state", "ps", "hooks", "describe", "logs", "events")


@pytest.mark.parametrize("verb", READ_VERBS)
def test_a_container_that_does_not_exist(verb: str, tmp_path: Path) -> None:
    result = shim("--root", str(tmp_path / "root"), verb, "web")
    assert result.returncode == failure(verb)
    assert result.stderr == f'shim: cannot {verb} "web": container does not exist\n'
    assert result.stdout == ""
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("argv", "first"),
    [
        ((), "shim: a verb is missing"),
        (("nosuch",), "shim: unknown verb 'nosuch'"),
        (("--nosuch", "list"), "shim: unknown flag --nosuch"),
        (("create", "--nosuch", "web"), "shim: cannot create: unknown flag --nosuch"),
        (("create",), "shim: cannot create: ID is missing"),
        (("exec", "web"), 'shim: cannot exec "web": COMMAND is missing'),
        (("run", "-b"), "shim: cannot run: flag --bundle needs a value"),
        (("wait",), "shim: cannot wait: ID is missing"),
        (("--log-format", "yaml", "list"), "shim: flag --log-format: 'yaml' is not one of"),
        (("--root", "", "list"), "shim: cannot list: flag --root: empty"),
        (("help", "nosuch"), "shim: unknown verb 'nosuch'"),
    ],
)
def test_usage_errors_are_status_2_with_the_usage(argv: tuple[str, ...], first: str) -> None:
    result = shim(*argv)
    assert result.returncode == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0].startswith(first)
    assert lines[1].startswith("usage: shim")


@pytest.mark.parametrize("rest", [[], ["--help"], ["--image-path", "/x", "web"]])
@pytest.mark.parametrize("verb", ["checkpoint", "restore"])
def test_checkpoint_is_not_supported_help_included(verb: str, rest: list[str]) -> None:
    """podman takes status 0 of `checkpoint --help` for support (OCI.md 2.2)."""
    result = shim(verb, *rest)
    assert result.returncode == 1
    assert result.stderr == f"shim: cannot {verb}: not supported\n"
    assert shim("help", verb).returncode == 1


@pytest.mark.parametrize(
    "argv",
    [["hook", "test", "web", "preStop"], ["kube", "play", "x"], ["metrics"],
     ["timeline", "web"], ["completion", "bash"]],
)  # fmt: skip
def test_verbs_of_later_versions_say_so(argv: list[str]) -> None:
    result = shim(*argv)
    assert result.returncode == 1
    assert result.stderr == f"shim: cannot {argv[0]}: not supported by this version\n"


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--systemd-cgroup"], "--systemd-cgroup"),
        (["--cgroup-manager", "systemd"], "--cgroup-manager systemd"),
        (["--cgroup-manager=disabled"], "--cgroup-manager disabled"),
        (["--rootless", "true"], "--rootless true"),
    ],
)
def test_global_flags_that_are_not_honoured_are_refused_by_name(
    flags: list[str], named: str, tmp_path: Path
) -> None:
    result = shim(*flags, "--root", str(tmp_path), "state", "web")
    assert result.returncode == 1
    assert result.stderr == (f'shim: cannot state "web": {named}: not supported by this version\n')


@pytest.mark.parametrize(
    "flags",
    [["--rootless", "auto"], ["--rootless=false"], ["--cgroup-manager=cgroupfs"], ["--debug"]],
)
def test_global_flags_that_are_accepted(flags: list[str], tmp_path: Path) -> None:
    result = shim(*flags, "--root", str(tmp_path / "root"), "list", "--format", "json")
    assert (result.returncode, result.stdout, result.stderr) == (0, "[]\n", "")


def test_debug_adds_a_traceback_and_the_line_stays_last(tmp_path: Path) -> None:
    result = shim("--debug", "--root", str(tmp_path), "state", "web")
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1] == 'shim: cannot state "web": container does not exist'


# ---- exit statuses, by exception


@pytest.mark.parametrize(
    ("error", "plain", "process"),
    [
        (ShimError("x"), 1, 125),
        (NotFoundError(), 1, 125),
        (UnsupportedError("f", "/p", "x"), 1, 125),
        (OSError(13, "Permission denied"), 1, 125),
        (RuntimeError("bug"), 1, 125),
        (CannotInvokeError("x"), 126, 126),
        (CommandNotFoundError("x"), 127, 127),
        (CallerTimeoutError("x"), 124, 124),
        (KeyboardInterrupt(), 130, 130),
        (BrokenPipeError(32, "Broken pipe"), 141, 141),
    ],
)
def test_exit_statuses(
    error: BaseException, plain: int, process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(verb: object, args: object) -> int:
        raise error

    monkeypatch.setattr(main_module, "_run", fail)
    monkeypatch.setattr(os, "dup2", lambda *fds: None)
    assert main(["state", "web"]) == plain
    for verb in PROCESS_VERBS:
        assert main([verb, "web", *REST.get(verb, [])]) == process


def test_the_status_of_the_process_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main_module, "_run", lambda verb, args: 42)
    assert main(["run", "web"]) == 42


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(2, "No such file or directory", "/x\n"), "/x\\n: no such file or directory"),
        (OSError(5, "Input/output error"), "input/output error"),
        (ShimError("a\x1b[31mb\nc"), "a\\e[31mb\\nc"),
        (RuntimeError("bug"), "internal error: RuntimeError: bug"),
        (ModuleNotFoundError("", name="psutil"), "the Python package psutil is not installed"),
    ],
)
def test_the_line(
    error: BaseException,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail(verb: object, args: object) -> int:
        raise error

    monkeypatch.setattr(main_module, "_run", fail)
    main(["state", "web"])
    assert capfd.readouterr().err == f'shim: cannot state "web": {line}\n'


def test_clean_up_failures_are_in_the_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(verb: object, args: object) -> int:
        error = ShimError("no")
        error.add_note("cgroup /x is busy")
        error.add_note("y")
        raise error

    monkeypatch.setattr(main_module, "_run", fail)
    main(["create", "web"])
    assert capfd.readouterr().err == (
        'shim: cannot create "web": no; clean-up: cgroup /x is busy; clean-up: y\n'
    )


# ---- --log


def test_log_json_is_one_object_as_podman_reads_it(tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    result = shim(
        "--log", str(log), "--log-format=json", "--root", str(tmp_path / "r"), "state", "web"
    )
    record = json.loads(log.read_text())
    assert list(record) == ["level", "msg", "time"]
    assert record["level"] == "error"
    assert record["msg"] == 'cannot state "web": container does not exist'
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", record["time"])
    assert result.stderr == f"shim: {record['msg']}\n"


def test_log_text_is_appended_as_logfmt(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    for _ in range(2):
        shim("--log", str(log), "--root", str(tmp_path / "r"), "state", "web")
    before, first, second = log.read_text().splitlines()
    assert before == "before"
    for line in (first, second):
        assert re.fullmatch(
            r'time="[^"]+" level=error msg="cannot state \\"web\\": container does not exist"', line
        )


def test_log_gets_one_line_of_a_usage_error_too(tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    assert shim("--log", str(log), "--log-format", "json", "create").returncode == 2
    assert json.loads(log.read_text())["msg"] == "cannot create: ID is missing"


def test_log_of_a_success_is_empty(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert shim("--log", f"file:{log}", "--root", str(tmp_path / "r"), "list").returncode == 0
    assert log.read_text() == ""


def test_in_29_log_is_not_written_through_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "victim").touch()
    (tmp_path / "log").symlink_to("victim")
    result = shim("--log", str(tmp_path / "log"), "state", "web")
    assert result.returncode == 1
    assert "--log" in result.stderr
    assert (tmp_path / "victim").read_text() == ""


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_in_29_log_that_is_no_file_is_an_error_not_a_hang(make: object, tmp_path: Path) -> None:
    make(tmp_path / "log")  # type: ignore[operator]
    result = shim("--log", str(tmp_path / "log"), "state", "web")
    assert result.returncode == 1
    assert result.stderr.startswith(f"shim: --log {tmp_path}/log: ")


def test_log_kinds_that_are_not_built_are_refused() -> None:
    result = shim("--log", "journald:web", "list")
    assert result.returncode == 1
    assert "journald: is not supported by this version" in result.stderr


# ---- streams


def test_a_reader_that_has_gone_is_quiet(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("--help"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(30) == 141
    process.stderr.close()


def test_closed_descriptors_do_not_become_files(tmp_path: Path) -> None:
    log = tmp_path / "log"
    argv = command("--log", str(log), "--root", str(tmp_path / "r"), "state", "web")
    result = subprocess.run(["sh", "-c", '"$@" >&- 2>&- <&-', "sh", *argv], check=False, timeout=30)
    assert result.returncode == 1
    assert log.read_text().count("\n") == 1
    assert "shim:" not in log.read_text()


def test_sigterm_ends_the_verb_by_the_signal(tmp_path: Path) -> None:
    """Engines tell a killed verb from a failed one."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    code = f"import os\nopen({str(fifo)!r}).read()\n"
    process = subprocess.Popen([*command("list")[:-2], code])
    with open(fifo, "w"):
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM
