"""The state directory: atomic, private, hostile input refused (SECURITY.md ST-03..08, 10..12)."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shim.errors import KernelError, NotFoundError, ShimError
from shim.model import journal, lock
from shim.model.directory import ContainerDir, parse_state
from shim.model.store import Store

STATE = {"id": "web", "status": "created", "pid": 77, "annotations": {}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "root"))


@pytest.fixture
def web(store: Store) -> ContainerDir:
    return store.create("web")


def test_nothing_is_made_by_reading(store: Store) -> None:
    assert store.ids() == []
    with pytest.raises(NotFoundError, match="container does not exist"):
        store.container("web")
    assert not os.path.exists(store.root)


def test_create_makes_private_directories(store: Store, web: ContainerDir) -> None:
    assert store.ids() == ["web"]
    for path in (store.root, web.path):
        assert os.stat(path).st_mode & 0o777 == 0o700


def test_an_id_is_taken_once(store: Store, web: ContainerDir) -> None:
    with pytest.raises(ShimError, match="container with given ID already exists"):
        store.create("web")


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "../x", "a b", "é", "-x", "x" * 129])
def test_invalid_ids_never_reach_a_path(store: Store, id: str) -> None:
    for act in (store.create, store.container):
        with pytest.raises(ShimError, match="invalid container ID"):
            act(id)
    assert not os.path.exists(store.root)


def test_st_07_root_that_others_can_write_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    root.chmod(0o777)
    with pytest.raises(ShimError, match="writable by others"):
        Store(str(root)).ids()


def test_st_07_root_that_is_a_symlink_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "root").symlink_to("real")
    with pytest.raises(KernelError):
        Store(str(tmp_path / "root")).create("web")
    assert list((tmp_path / "real").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="chown needs root")
def test_st_07_root_of_another_user_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir(mode=0o700)
    os.chown(root, 12345, 12345)
    with pytest.raises(ShimError, match="owned by uid 12345"):
        Store(str(root)).ids()


def test_state_round_trip_keeps_unknown_keys(web: ContainerDir) -> None:
    web.write_state({**STATE, "later": [1]})
    assert web.update(pid=78) == {**STATE, "later": [1], "pid": 78, "version": 1}
    assert web.read_state()["pid"] == 78
    assert os.stat(os.path.join(web.path, "state.json")).st_mode & 0o777 == 0o600
    assert sorted(os.listdir(web.path)) == ["state.json"]


def test_st_03_short_writes_are_finished(
    web: ContainerDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:3])))
    web.write_state(STATE)
    web.append({"t": "x"})
    monkeypatch.undo()
    assert web.read_state()["pid"] == 77
    assert [record["t"] for record in web.journal()] == ["x"]


def test_st_02_a_full_disk_leaves_the_old_state(
    web: ContainerDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.write_state(STATE)

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(KernelError, match=r"write state\.json: no space left"):
        web.update(pid=78)
    monkeypatch.undo()
    assert web.read_state()["pid"] == 77
    assert sorted(os.listdir(web.path)) == ["state.json"]


@pytest.mark.parametrize("cut", range(len(json.dumps({**STATE, "version": 1}))))
def test_st_05_every_truncation_is_called_corrupt(cut: int) -> None:
    with pytest.raises(ShimError, match="corrupt state"):
        parse_state(json.dumps({**STATE, "version": 1}).encode()[:cut])


@pytest.mark.parametrize(
    "change",
    [{"pid": "1"}, {"pid": True}, {"status": None}, {"cgroup": "/"}, {"monitor": [1]}, {"id": 1}],
)
def test_st_06_wrong_types_are_called_corrupt(change: dict[str, object]) -> None:
    with pytest.raises(ShimError, match=f"corrupt state.*{next(iter(change))}"):
        parse_state(json.dumps({**STATE, "version": 1, **change}).encode())


def test_st_05_deep_nesting_is_called_corrupt() -> None:
    with pytest.raises(ShimError, match="corrupt state"):
        parse_state(b"[" * 100_000)


def test_st_05_missing_state_file_is_called_corrupt(web: ContainerDir) -> None:
    with pytest.raises(ShimError, match=r"corrupt state.*no such file"):
        web.read_state()


def test_a_state_of_another_container_is_called_corrupt(web: ContainerDir) -> None:
    web.write_state({**STATE, "id": "db"})
    with pytest.raises(ShimError, match=r"corrupt state.*id is not web"):
        web.read_state()


def test_st_10_another_version_is_refused_by_number() -> None:
    with pytest.raises(ShimError, match="version 2 is not supported"):
        parse_state(json.dumps({**STATE, "version": 2}).encode())


def test_st_08_fifo_symlink_and_directory_do_not_hang_or_mislead(web: ContainerDir) -> None:
    path = os.path.join(web.path, "state.json")
    os.mkfifo(path)
    with pytest.raises(ShimError, match="not a regular file"):
        web.read_state()
    os.unlink(path)
    os.symlink("/etc/passwd", path)
    with pytest.raises(ShimError, match="corrupt state"):
        web.read_state()
    os.unlink(path)
    os.mkdir(path)
    with pytest.raises(ShimError, match="corrupt state"):
        web.read_state()


def test_st_08_a_huge_sparse_file_is_not_read(web: ContainerDir) -> None:
    with open(os.path.join(web.path, "state.json"), "wb") as file:
        file.truncate(10 << 30)
    with pytest.raises(ShimError, match="larger than"):
        web.read_state()


def test_st_08_foreign_entries_of_the_root_are_passed_over(store: Store, web: ContainerDir) -> None:
    for name in ("file", "not valid", ".hidden"):
        Path(store.root, name).touch()
    os.symlink("web", os.path.join(store.root, "link"))
    Path(store.root, "a b").mkdir()
    assert store.ids() == ["web"]
    with pytest.raises(ShimError, match="not a directory"):
        store.container("link")


def test_files_below_a_subdirectory(web: ContainerDir) -> None:
    web.write_bytes("hooks/1.out", b"one")
    web.write_bytes("hooks/1.out", b"two")
    assert web.read_bytes("hooks/1.out") == b"two"
    with pytest.raises(ShimError, match="larger than 2 bytes"):
        web.read_bytes("hooks/1.out", 2)
    with pytest.raises(KernelError, match=r"read hooks/2\.out: no such file"):
        web.read_bytes("hooks/2.out")


def test_a_planted_link_is_not_written_through(web: ContainerDir, tmp_path: Path) -> None:
    os.symlink(tmp_path, os.path.join(web.path, "hooks"))
    with pytest.raises(KernelError):
        web.write_bytes("hooks/1.out", b"x")
    assert not (tmp_path / "1.out").exists()


# ---- journal


def test_journal_numbers_records_of_several_writers(store: Store, web: ContainerDir) -> None:
    other = store.container("web")
    for number, writer in enumerate((web, other, web, web, other)):
        writer.append({"t": "n", "n": number}, durable=False)
    assert [(r["seq"], r["n"]) for r in web.journal()] == [(i + 1, i) for i in range(5)]


def test_st_04_reading_stops_at_the_first_bad_record(web: ContainerDir) -> None:
    for number in range(3):
        web.append({"n": number})
    path = Path(web.path, "journal.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b'"n":1', b'"n":9') + lines[2])
    assert [record["n"] for record in web.journal()] == [0]
    path.write_bytes(lines[0] + lines[2])
    assert [record["n"] for record in web.journal()] == [0]


def test_st_04_a_torn_tail_does_not_hide_what_comes_after(store: Store, web: ContainerDir) -> None:
    web.append({"n": 0})
    path = Path(web.path, "journal.jsonl")
    path.write_bytes(path.read_bytes() + b'{"seq":2,"n":1')
    store.container("web").append({"n": 2})
    assert [record["n"] for record in web.journal()] == [0, 2]


@given(data=st.data(), count=st.integers(1, 5))
def test_st_04_any_damage_yields_a_prefix(data: st.DataObject, count: int) -> None:
    good = b"".join(journal.encode(i + 1, {"t": "event", "n": i}) for i in range(count))
    at = data.draw(st.integers(0, len(good) - 1))
    flip = data.draw(st.integers(1, 255))
    bad = good[:at] + bytes([good[at] ^ flip]) + good[at + 1 :]
    records, size = journal.replay(bad)
    assert [record["n"] for record in records] == list(range(len(records)))
    assert len(records) < count
    assert bad[:size] == good[:size]


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_journal_lines_round_trip(record: dict[str, object]) -> None:
    line = journal.encode(3, record)
    assert line.count(b"\n") == 1
    assert journal.decode(line[:-1]) == {"seq": 3, **record}


@given(st.binary(max_size=60))
def test_journal_never_raises_on_garbage(data: bytes) -> None:
    records, size = journal.replay(data)
    assert records == []
    assert size == 0


def test_a_failed_append_leaves_no_torn_line(
    web: ContainerDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.append({"n": 0})
    size = os.path.getsize(os.path.join(web.path, "journal.jsonl"))
    real, calls = os.write, []

    def one_then_full(fd: int, data: bytes) -> int:
        calls.append(fd)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(fd, bytes(data[:5]))

    monkeypatch.setattr(os, "write", one_then_full)
    with pytest.raises(KernelError, match="no space left"):
        web.append({"n": 1})
    monkeypatch.undo()
    assert os.path.getsize(os.path.join(web.path, "journal.jsonl")) == size
    web.append({"n": 2})
    assert [record["n"] for record in web.journal()] == [0, 2]


# ---- lock and removal


def _in_child(act: object) -> int:
    """The exit status of a child that calls `act`; 9 when it raised."""
    pid = os.fork()
    if pid == 0:
        try:
            act()  # type: ignore[operator]
        except BaseException:
            os._exit(9)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_st_12_a_lock_that_is_not_given_back_is_reported_busy(
    store: Store, web: ContainerDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "WAIT", 0.05)
    before = signal.getsignal(signal.SIGALRM)
    with web.lock(), pytest.raises(ShimError, match="busy"), store.container("web").lock():
        pass
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_st_11_the_lock_orders_processes(store: Store, web: ContainerDir) -> None:
    web.write_state({**STATE, "pid": 0})

    def add() -> None:
        mine = Store(store.root).container("web")
        for _ in range(20):
            with mine.lock():
                mine.write_state({**STATE, "pid": mine.read_state()["pid"] + 1})

    children = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            try:
                add()
            except BaseException:
                os._exit(9)
            os._exit(0)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
    assert web.read_state()["pid"] == 80


def test_the_lock_may_be_nested(web: ContainerDir) -> None:
    web.write_state(STATE)
    with web.lock(), web.lock():
        web.update(pid=1)
    assert _in_child(lambda: web.update(pid=2)) == 0
    assert web.read_state()["pid"] == 2


def test_st_11_waiting_for_a_container_that_gets_removed_is_not_found(
    store: Store, web: ContainerDir
) -> None:
    stale = store.container("web")
    with web.lock():
        web.remove()
    with pytest.raises(NotFoundError), stale.lock():
        pass
    store.create("web")
    with pytest.raises(NotFoundError), stale.lock():
        pass


def test_remove_leaves_nothing_and_follows_no_link(
    store: Store, web: ContainerDir, tmp_path: Path
) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "file").touch()
    web.write_state(STATE)
    web.write_bytes("hooks/1.out", b"x")
    os.symlink(tmp_path / "victim", os.path.join(web.path, "link"))
    with web.lock():
        web.remove()
    assert store.ids() == []
    assert os.listdir(os.path.join(store.root, ".locks")) == []
    assert (tmp_path / "victim" / "file").exists()


def test_sp_21_a_removal_cut_short_can_be_repeated(
    store: Store, web: ContainerDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.write_state(STATE)
    web.append({"n": 0})
    web.write_bytes("exec.plan", b"x")
    real, done = os.unlink, []

    def die_at_second(path: str, **how: int) -> None:
        done.append(path)
        if len(done) == 2:
            raise OSError(5, "Input/output error")
        real(path, **how)

    monkeypatch.setattr(os, "unlink", die_at_second)
    with pytest.raises(KernelError, match="input/output error"):
        web.remove()
    monkeypatch.undo()
    again = store.container("web")
    assert again.read_state()["pid"] == 77
    again.remove()
    assert store.ids() == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.binary(max_size=200))
def test_st_05_garbage_never_escapes_as_another_error(data: bytes) -> None:
    with pytest.raises(ShimError):
        parse_state(data)
