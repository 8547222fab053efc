"""The parser: every way to write a flag, and everything that is not one."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.cli.options import Args, find_verb, parse_globals, parse_verb
from shim.cli.table import GLOBALS, VERBS
from shim.errors import ShimError, UnsupportedError, UsageError


def parse(*argv: str) -> Args:
    args = Args()
    verb, *rest = parse_globals(list(argv), args)
    parse_verb(find_verb(verb), rest, args)
    return args


@pytest.mark.parametrize(
    "flags",
    [["-b", "/x"], ["-b/x"], ["-b=/x"], ["--bundle", "/x"], ["--bundle=/x"], ["-bundle", "/x"]],
)
def test_every_way_to_give_a_value(flags: list[str]) -> None:
    assert parse("create", *flags, "web").bundle == "/x"
    assert parse("create", "web", *flags).bundle == "/x"


def test_defaults() -> None:
    args = parse("create", "web")
    assert (args.id, args.bundle, args.pid_file, args.preserve_fds) == ("web", ".", None, 0)
    assert args.no_pivot is False
    assert parse("exec", "web", "ls").no_new_privs is None


def test_lists_do_not_leak_from_one_parse_to_the_next() -> None:
    assert parse("exec", "-e", "A=1", "--env=B=2", "web", "ls").env == ["A=1", "B=2"]
    assert parse("exec", "web", "ls").env == []


def test_conmon_and_containerd_spellings() -> None:
    args = parse(
        "--root=/r", "--log", "/l", "--log-format=json",
        "create", "--bundle", "/b", "--pid-file", "/p", "--console-socket", "/s", "web",
    )  # fmt: skip
    assert (args.root, args.log, args.log_format) == ("/r", "/l", "json")
    assert (args.bundle, args.pid_file, args.console_socket) == ("/b", "/p", "/s")
    args = parse("exec", "--process", "/t", "--detach", "--pid-file", "/p", "web")
    assert (args.process, args.detach, args.command) == ("/t", True, [])
    assert parse("run", "-no-subreaper", "--bundle", "/b", "web").no_subreaper is True
    args = parse("kill", "--all", "web", "9")
    assert (args.all, args.id, args.signal) == (True, "web", "9")
    assert parse("kill", "web", "KILL", "-a").all is True


def test_clusters() -> None:
    args = parse("exec", "-dt", "-uroot", "-eA=B", "-cCAP_KILL", "web", "ls")
    assert (args.detach, args.tty, args.user, args.env, args.cap) == (
        True, True, "root", ["A=B"], ["CAP_KILL"],
    )  # fmt: skip


def test_booleans_take_a_value_after_the_equals_sign_only() -> None:
    assert parse("delete", "--force=true", "web").force is True
    assert parse("delete", "--force=false", "web").force is False
    with pytest.raises(UsageError, match="not true or false"):
        parse("delete", "--force=yes", "web")


def test_a_foreign_command_line_is_left_alone() -> None:
    assert parse("exec", "web", "ls", "-la", "--", "--help").command == [
        "ls",
        "-la",
        "--",
        "--help",
    ]
    assert parse("exec", "web", "--", "ls", "-a").command == ["ls", "-a"]
    assert parse("exec", "-t", "--", "web", "ls").command == ["ls"]
    assert parse("bundle", "/d", "--", "nginx", "-g", "x").args == ["nginx", "-g", "x"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["nosuch"], "unknown verb 'nosuch'"),
        (["--nosuch", "list"], "unknown flag --nosuch"),
        (["---root", "list"], "unknown flag ---root"),
        (["create", "--nosuch", "web"], "unknown flag --nosuch"),
        (["create", "-x", "web"], "unknown flag -x"),
        (["create", "-bx", "--=1", "web"], "unknown flag --=1"),
        (["create"], "ID is missing"),
        (["stop"], "ID is missing"),
        (["create", "web", "b"], "unexpected argument 'b'"),
        (["list", "web"], "unexpected argument 'web'"),
        (["create", "web", "--bundle"], "flag --bundle needs a value"),
        (["create", "web", "-b"], "flag --bundle needs a value"),
        (["--log-format", "xml", "list"], "'xml' is not one of text, json"),
        (["list", "-f", "yaml"], "'yaml' is not one of table, json"),
        (["create", "--preserve-fds", "-1", "web"], "not a whole number"),
        (["create", "--preserve-fds", "1.5", "web"], "not a whole number"),
        (["create", "--preserve-fds", "\u0663", "web"], "not a whole number"),
        (["create", "--preserve-fds", "9" * 20, "web"], "not a whole number"),
        (["run", "--restart", "always", "web"], "not one of Always, OnFailure, Never"),
    ],
)
def test_usage_errors(argv: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse(*argv)


@pytest.mark.parametrize(
    "text", ["1e400", "nan", "inf", "-0", "-1", "", "1e3", "0x10", "1_0", " 1", "5s", "9" * 16]
)
def test_in_30_seconds_are_plain_decimals(text: str) -> None:
    with pytest.raises(UsageError, match="not a number of seconds"):
        parse("stop", f"--grace={text}", "web")


@pytest.mark.parametrize(("text", "value"), [("0", 0.0), ("10", 10.0), ("2.5", 2.5), ("3.", 3.0)])
def test_seconds(text: str, value: float) -> None:
    assert parse("stop", "-t", text, "a", "b").grace == value


@pytest.mark.parametrize(
    "argv",
    [
        ["exec", "--apparmor", "x", "web", "ls"],
        ["exec", "--process-label", "x", "web", "ls"],
        ["create", "--pidfd-socket", "/s", "web"],
        ["spec", "--rootless"],
        ["update", "--kernel-memory", "1", "web"],
    ],
)
def test_what_is_not_honoured_is_refused_by_name(argv: list[str]) -> None:
    with pytest.raises(UnsupportedError, match=rf"^{argv[1]}: not supported by this version"):
        parse(*argv)


def test_several_ids() -> None:
    assert parse("stop", "a", "b").ids == ["a", "b"]
    assert parse("wait", "a").ids == ["a"]
    assert parse("events").id is None
    assert parse("events", "a").id == "a"
    with pytest.raises(ShimError, match="invalid container ID"):
        parse("stop", "a", "../b")


def test_help_wins_over_what_is_missing() -> None:
    args = Args()
    parse_globals([], args)
    for verb in VERBS.values():
        if not verb.answer:
            assert parse_verb(verb, ["--help"], args)
            assert parse_verb(verb, ["-h"], args)


def test_no_verb_has_two_flags_of_one_name() -> None:
    for flags in [GLOBALS, *(verb.flags for verb in VERBS.values())]:
        names = [name for flag in flags for name in (flag.name, flag.short) if name]
        assert len(names) == len(set(names))


@given(st.lists(st.text(max_size=8) | st.sampled_from(["-b", "--", "-", "exec", "web", "--env=1"])))
def test_anything_parses_or_is_a_shim_error(argv: list[str]) -> None:
    with contextlib.suppress(ShimError):
        assert parse("exec", *argv).verb == ""
