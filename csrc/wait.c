/* The monitor at rest: with nothing to drive, the interpreter is replaced by this poll(2) until one of
 * its descriptors has news, and then comes back by execve. The pid, the children, the blocked signals
 * and every descriptor stay what they are (shim/engine/park.py). */
#include "exec.h"

struct pollfd_ {
    int fd;
    short events, revents;
};

static long poll_all(struct pollfd_ *p, int n)
{
    long got;
    do
        got = SYS(__NR_ppoll, p, n, 0, 0, 8, 0);
    while (got == -EINTR);
    return got;
}

/* fds[0] is the container's pidfd. When the interpreter cannot be started any more (it was removed),
 * the lock and the control socket are let go, so that another monitor can take over, and this process
 * stays as the parent until the container has ended. */
static _Noreturn void stay(struct pollfd_ *p, int n)
{
    for (int i = 1; i < n; i++)
        sys_close(p[i].fd);
    (void)SYS(__NR_close_range, p[0].fd + 1, ~0u, 0, 0, 0, 0);
    (void)poll_all(p, 1);
    die(1);
}

_Noreturn void wait_mode(const int *fds, int n, char **argv, char **env)
{
    static struct pollfd_ p[PLAN_MAX_FDS];
    for (int i = 0; i < n; i++) {
        p[i].fd = fds[i];
        p[i].events = 1; /* POLLIN */
    }
    (void)sys_prctl(PR_SET_NAME, (unsigned long)"shim-monitor", 0, 0);
    if (poll_all(p, n) > 0)
        (void)SYS(__NR_execve, argv[0], argv, env, 0, 0, 0);
    stay(p, n);
}
