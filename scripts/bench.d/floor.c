/* The floor that `scripts/bench` holds a hook delivery against: what the kernel alone charges for one
 * process in a container, when a small resident C program asks for it and does nothing else.
 *
 *   floor PID CGROUP COMMAND...
 *
 * PID is the container's init, CGROUP its cgroup directory. Each line "N" on stdin is answered by N
 * samples on one line: microseconds from the request to the reaped exit. One sample is mkdir of a
 * leaf cgroup, clone3(CLONE_INTO_CGROUP | CLONE_PIDFD), setns(pidfd) to every namespace of the
 * container, a fork into its pid namespace, execve, and the wait for both. The rmdir of the leaf
 * comes after the clock, as it does in the monitor. No credentials are dropped, no descriptor is
 * checked, nothing is journalled: a runtime can come near to this, and never below. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAMESPACES                                                                                 \
    (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static long clone_into(int cgroup, int *pidfd)
{
    struct clone_args args;
    memset(&args, 0, sizeof(args));
    args.flags = CLONE_INTO_CGROUP | CLONE_PIDFD;
    args.pidfd = (uint64_t)(uintptr_t)pidfd;
    args.exit_signal = SIGCHLD;
    args.cgroup = (uint64_t)cgroup;
    return syscall(SYS_clone3, &args, sizeof(args));
}

static _Noreturn void joiner(int init, char **command)
{
    static char *const environment[] = {"PATH=/usr/bin:/bin", NULL};
    if (setns(init, NAMESPACES))
        fail("setns");
    /* CLONE_PARENT: the one who asked reaps the command itself, no process waits in between */
    long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
    if (pid < 0)
        fail("fork");
    if (pid > 0)
        _exit(0);
    execve(command[0], command, environment);
    fail(command[0]);
}

static void reap(void)
{
    int status;
    if (waitpid(-1, &status, __WALL) < 0)
        fail("waitpid");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        errno = ECHILD;
        fail("the command did not succeed");
    }
}

static double sample(int init, const char *leaf, char **command)
{
    int pidfd = -1;
    double start = now_us();
    if (mkdir(leaf, 0755))
        fail(leaf);
    int cgroup = open(leaf, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (cgroup < 0)
        fail(leaf);
    long pid = clone_into(cgroup, &pidfd);
    if (pid < 0)
        fail("clone3");
    if (pid == 0)
        joiner(init, command);
    reap();
    reap();
    double end = now_us();
    close(pidfd);
    close(cgroup);
    while (rmdir(leaf)) /* since 6.18 a reaped task leaves its cgroup a moment later */
        if (errno != EBUSY || sched_yield())
            fail("rmdir");
    return end - start;
}

int main(int argc, char **argv)
{
    char line[32], leaf[PATH_MAX];
    if (argc < 4) {
        fputs("usage: floor PID CGROUP COMMAND...\n", stderr);
        return 2;
    }
    int init = (int)syscall(SYS_pidfd_open, atoi(argv[1]), 0);
    if (init < 0)
        fail("pidfd_open");
    for (unsigned n = 0; fgets(line, sizeof(line), stdin);) {
        for (int left = atoi(line); left > 0; left--, n++) {
            snprintf(leaf, sizeof(leaf), "%s/floor-%u", argv[2], n);
            printf("%.1f%c", sample(init, leaf, argv + 3), left == 1 ? '\n' : ' ');
        }
        fflush(stdout);
    }
    return 0;
}
