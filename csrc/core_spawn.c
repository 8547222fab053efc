/* Start shim-executor from a process full of Python (SECURITY.md section 9, rule 2). */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_FDS 256

static int migrate_self(int cgroup)
{
    int fd = openat(cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, "0", 1);
    int err = n == 1 ? 0 : -errno;
    close(fd);
    return err;
}

/* First lift everything out of the way, then put it in place: source and target ranges may overlap. */
static int place_fds(const struct shim_spawn *how)
{
    int lifted[MAX_FDS + 3];
    int first_free = how->base + (int)how->nfds;
    for (uint32_t i = 0; i < how->nfds + 3; i++) {
        int from = i < how->nfds ? how->fds[i] : how->stdio[i - how->nfds];
        lifted[i] = from < 0 ? -1 : fcntl(from, F_DUPFD_CLOEXEC, first_free);
        if (from >= 0 && lifted[i] < 0)
            return -errno;
    }
    for (uint32_t i = 0; i < how->nfds + 3; i++) {
        int to = i < how->nfds ? how->base + (int)i : (int)(i - how->nfds);
        if (lifted[i] >= 0 && dup2(lifted[i], to) < 0)
            return -errno;
    }
    return 0;
}

static _Noreturn void child(const struct shim_spawn *how, int exe, int migrate)
{
    char *const env[] = {NULL};
    int first_free = how->base + (int)how->nfds;
    int err = migrate ? migrate_self(how->cgroup) : 0;
    if (!err) {
        exe = fcntl(exe, F_DUPFD_CLOEXEC, first_free);
        err = exe < 0 ? -errno : place_fds(how);
    }
    if (!err) {
        /* What is inherited without CLOEXEC by somebody's mistake must not reach the executor. */
        (void)syscall(SYS_close_range, first_free, ~0u, CLOSE_RANGE_CLOEXEC);
        syscall(SYS_execveat, exe, "", how->argv, env, AT_EMPTY_PATH);
    }
    _exit(125);
}

static long clone_child(const struct shim_spawn *how, int *pidfd, int migrate)
{
    struct clone_args args;
    memset(&args, 0, sizeof(args));
    args.flags = CLONE_PIDFD;
    args.exit_signal = SIGCHLD;
    args.pidfd = (uint64_t)(uintptr_t)pidfd;
    if (how->cgroup >= 0 && !migrate) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)how->cgroup;
    }
    return syscall(SYS_clone3, &args, sizeof(args));
}

/* A caller may have left SIGCHLD ignored, which execve keeps: then the kernel reaps our children for us
 * and their status is lost (wait(2), NOTES; SECURITY.md EX-25). */
static void keep_children(void)
{
    struct sigaction act;
    if (sigaction(SIGCHLD, NULL, &act) == 0 && act.sa_handler == SIG_IGN)
        signal(SIGCHLD, SIG_DFL);
}

int shim_spawn(const struct shim_spawn *how, int *pidfd)
{
    sigset_t all, old;
    int migrate = how->cgroup >= 0 && how->migrate;
    if (how->nfds > MAX_FDS || how->base < 3)
        return -EINVAL;
    keep_children();
    /* Nothing may run Python's handlers in the child, or end it half way: execve puts the mask right. */
    sigfillset(&all);
    if (sigprocmask(SIG_BLOCK, &all, &old))
        return -errno;
    long pid = clone_child(how, pidfd, migrate);
    if (pid < 0 && how->cgroup >= 0 && !migrate && (errno == ENOSYS || errno == EINVAL)) {
        migrate = 1; /* a kernel before 5.7 */
        pid = clone_child(how, pidfd, migrate);
    }
    if (pid < 0 && (errno == ENOSYS || errno == EPERM)) /* refused by an outer seccomp profile */
        pid = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, pidfd, 0, 0), migrate = how->cgroup >= 0;
    if (pid == 0)
        child(how, how->exe, migrate);
    int err = errno;
    sigprocmask(SIG_SETMASK, &old, NULL);
    return pid < 0 ? -err : (int)pid;
}
