"""What a hook costs is counted for it and for the container (container-lifecycle-hooks.seed.md:
"Resources consumed by the command are counted against the Container")."""

from __future__ import annotations

from support.lifecycle import Lives, sh


def test_cpu_time_of_a_hook_is_counted_for_it_and_for_the_container(lives: Lives) -> None:
    """About 0.3 s by the process's own count, in usage.cpuUsec and in the container's cpu.stat."""
    begun, let_go = lives.fifo("begun"), lives.fifo("go")
    lives.fifo("never")
    # the shell's own schedstat says when 0.3 s are spent: no matter how fast or busy the machine is
    script = (
        "echo x >/home/begun; read x </home/go; spent=0; while [ $spent -lt 300000000 ]; do i=0; "
        "while [ $i -lt 2000 ]; do i=$((i+1)); done; read spent rest </proc/$$/schedstat; done; "
        "echo $spent; echo x >/home/begun"
    )
    lives.run(post_start=sh(script))
    follow = lives.follow()
    begun.line()

    def container() -> int:
        text = (lives.cgroup() / "cpu.stat").read_text()
        return int(dict(line.split() for line in text.splitlines())["usage_usec"])

    before = container()
    let_go.go()
    follow.until("PostStartHookSucceeded")
    hook = lives.hook()
    own = int(hook["output"]) / 1000
    assert 300_000 <= own < 400_000
    usage = hook["usage"]
    assert own * 0.8 <= usage["cpuUsec"] <= own * 1.2 + 20_000, usage
    assert own * 0.8 <= container() - before <= own * 1.2 + 20_000
    assert 100_000 < usage["maxRssBytes"] < 100 << 20


def test_two_hooks_are_counted_apart(lives: Lives) -> None:
    lives.run(
        post_start=sh("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"), pre_stop=sh("true")
    )
    lives.follow().until("PostStartHookSucceeded")
    lives.stop()
    heavy, light = lives.hooks()
    assert heavy["usage"]["cpuUsec"] > 5 * light["usage"]["cpuUsec"]


def test_what_the_kernel_cannot_tell_apart_is_null(lives: Lives) -> None:
    """A plain leaf has no controller: it is charged to the container with all else in it."""
    lives.run(post_start=sh("true"))
    lives.follow().until("PostStartHookSucceeded")
    counted = (lives.cgroup() / "memory.events").exists()
    usage = lives.hook()["usage"]
    assert usage.pop("cpuUsec") > 0
    assert usage.pop("maxRssBytes") > 0
    assert usage.pop("oomKills") == (0 if counted else None)
    assert usage == dict.fromkeys(
        ("memoryPeakBytes", "ioReadBytes", "ioWriteBytes", "pidsPeak", "throttledUsec")
    )


def test_cg_12_a_hook_that_is_shot_by_others_did_not_run_out_of_memory(lives: Lives) -> None:
    begun = lives.fifo("begun")
    lives.fifo("never")
    lives.run(post_start=sh("echo x >/home/begun; read x </home/never"))
    begun.line()
    (leaf,) = lives.cgroup().glob("hook-*")
    (leaf / "cgroup.kill").write_text("1")
    assert lives.exit_code() == "7"
    assert (lives.hook()["signal"], lives.hook()["error"]) == (9, "ended by signal 9")


def test_cg_12_a_killed_container_did_not_run_out_of_memory(lives: Lives) -> None:
    lives.run()
    assert lives.rt.kill("c", "KILL").code == 0
    assert lives.exit_code() == "137"
    assert "OOMKilled" not in lives.reasons()
