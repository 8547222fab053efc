/* shim-executor: runs packed plans.
 *
 *   shim-executor plan BASE NFDS   run the plan in descriptor BASE+1 once, reporting on BASE
 *   shim-executor serve FD         be the monitor's spawner on FD
 *   shim-executor wait N FD... PROGRAM ARG...   be the monitor at rest
 *
 * Descriptors from BASE+2 on, NFDS of them, are what the plan's ops refer to. The program is started
 * from a sealed memfd by shim._core and is the only thing of shim's that enters a container. */
#include "exec.h"

static int number(const char *s)
{
    int n = 0;
    if (!*s)
        return -1;
    for (; *s; s++) {
        if (*s < '0' || *s > '9' || n > 100000)
            return -1;
        n = n * 10 + (*s - '0');
    }
    return n;
}

static _Noreturn void plan_mode(int base, int nfds)
{
    static struct ctx c;
    static int fds[PLAN_MAX_FDS];
    for (int i = 0; i < nfds; i++)
        fds[i] = base + 2 + i;
    c.sync = base;
    c.rootfd = -1;
    c.fds = fds;
    c.nfds = (uint32_t)nfds;
    int err = tie_to_parent(&c);
    if (err)
        fail(&c, err, D_PARENT);
    err = plan_load(&c, base + 1);
    if (err)
        fail(&c, err, D_PLAN);
    sys_close(base + 1);
    run_plan(&c);
}

/* wait N FD... PROGRAM ARG...: the environment stays, since the interpreter comes back with it. */
static void wait_arguments(int argc, char **argv)
{
    static int fds[PLAN_MAX_FDS];
    int n = argc > 3 ? number(argv[2]) : -1;
    if (n < 1 || n > PLAN_MAX_FDS || argc < 3 + n + 1)
        return;
    for (int i = 0; i < n; i++)
        if ((fds[i] = number(argv[3 + i])) < 0)
            return;
    wait_mode(fds, n, argv + 3 + n, argv + argc + 1);
}

int main(int argc, char **argv)
{
    /* First of all, before any byte of input is read (SECURITY.md EX-04). */
    if (sys_prctl(PR_SET_DUMPABLE, 0, 0, 0))
        return 125;
    if (argc == 3 && str_eq(argv[1], "serve") && number(argv[2]) >= 0)
        serve(number(argv[2]));
    if (argc > 1 && str_eq(argv[1], "wait"))
        wait_arguments(argc, argv);
    if (argc == 4 && str_eq(argv[1], "plan")) {
        int base = number(argv[2]), nfds = number(argv[3]);
        if (base >= 3 && nfds >= 0 && nfds <= PLAN_MAX_FDS)
            plan_mode(base, nfds);
    }
    return 125;
}
