/* The spawner: a resident child of the monitor that turns one message into one hook process.
 * It never looks into a plan; the process it clones does, after it is in the container's cgroup. */
#include "exec.h"

#define SPAWN_FDS 6 /* status, plan, cgroup, stdin, stdout, stderr; then the plan's own */

struct request {
    struct msg m;
    int fds[PLAN_MAX_FDS];
    uint32_t nfds;
};

/* cgroup.procs instead of CLONE_INTO_CGROUP: kernels before 5.7, and cgroups that kill at birth
 * (SECURITY.md CG-01). Slow, since it takes the kernel's threadgroup lock. */
static int migrate_self(int cgroup)
{
    int fd = sys_openat(cgroup, "cgroup.procs", O_WRONLY, 0);
    if (fd < 0)
        return fd;
    int err = write_file(fd, "0", 1);
    sys_close(fd);
    return err;
}

static _Noreturn void child(struct request *r, int control, int migrate)
{
    static struct ctx c;
    c.sync = r->fds[0];
    c.rootfd = -1;
    c.signals_done = 1;
    c.fds = r->fds + SPAWN_FDS;
    c.nfds = r->nfds - SPAWN_FDS;
    sys_close(control);
    int err = tie_to_parent(&c);
    if (!err && migrate)
        err = migrate_self(r->fds[2]);
    for (int i = 0; !err && i < 3; i++) {
        int fd = sys_dup3(r->fds[3 + i], i, 0);
        err = fd < 0 ? fd : 0;
    }
    if (!err)
        err = plan_load(&c, r->fds[1]);
    /* A directory of the host's cgroups in the hands of a process that the container may trace would be
     * a way out (SECURITY.md EX-03, CVE-2024-21626). */
    for (int i = 1; i < SPAWN_FDS; i++)
        sys_close(r->fds[i]);
    if (err)
        fail(&c, err, D_PLAN);
    run_plan(&c);
}

/* CLONE_PARENT: the monitor is the parent of every hook and reaps it itself. */
static long spawn(struct request *r, int control)
{
    int migrate = r->m.v[1] != 0; /* v0 = token, v1 = through cgroup.procs */
    long pid = -ENOSYS;
    if (!migrate)
        pid = sys_clone3(CLONE_PARENT | CLONE_INTO_CGROUP, 0, NULL, r->fds[2]);
    if (pid == -ENOSYS || pid == -EPERM || pid == -EINVAL) {
        migrate = 1;
        pid = SYS(__NR_clone, CLONE_PARENT, 0, 0, 0, 0, 0);
    }
    if (pid == 0)
        child(r, control, migrate);
    return pid;
}

_Noreturn void serve(int control)
{
    static struct request r;
    default_signals();
    for (;;) {
        r.nfds = 0;
        int err = msg_recv(control, &r.m, r.fds, PLAN_MAX_FDS, &r.nfds);
        if (err == -EPIPE)
            die(0); /* the monitor is gone */
        long pid = err || r.nfds < SPAWN_FDS ? -EPROTO : spawn(&r, control);
        for (uint32_t i = 0; i < r.nfds; i++)
            sys_close(r.fds[i]);
        struct msg reply = {.type = pid < 0 ? MSG_ERROR : MSG_PID,
                            .err = pid < 0 ? (int)-pid : 0,
                            .v = {pid < 0 ? 0 : (uint64_t)pid, r.m.v[0]}};
        if (msg_send(control, &reply, -1))
            die(1);
    }
}
