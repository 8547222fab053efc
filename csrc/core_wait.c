/* Things to wait on: the monitor's loop knows nothing but descriptors. */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* <linux/pidfd.h> of 6.15; the size in the request number is the struct's (ioctl(2)). */
struct pidfd_info_v1 {
    uint64_t mask, cgroupid;
    uint32_t ids[11];
    int32_t exit_code;
};
#define PIDFD_INFO_EXIT_BIT (1ull << 3)
#define PIDFD_GET_INFO_V1 _IOWR(0xFF, 11, struct pidfd_info_v1)

int shim_timerfd(int clock)
{
    int fd = timerfd_create(clock, TFD_CLOEXEC | TFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int shim_timerfd_set(int fd, uint64_t deadline_ns)
{
    struct itimerspec when;
    memset(&when, 0, sizeof(when));
    when.it_value.tv_sec = (time_t)(deadline_ns / 1000000000u);
    when.it_value.tv_nsec = (long)(deadline_ns % 1000000000u);
    return timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL) ? -errno : 0;
}

int shim_signalfd(const int *signals, uint32_t n)
{
    sigset_t set;
    sigemptyset(&set);
    for (uint32_t i = 0; i < n; i++)
        if (sigaddset(&set, signals[i]))
            return -errno;
    if (sigprocmask(SIG_BLOCK, &set, NULL))
        return -errno;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int shim_inotify(const char *path, uint32_t mask)
{
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0)
        return -errno;
    if (inotify_add_watch(fd, path, mask) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

/* The wait(2) status of a process that need not be our child: kernel 6.15 (SECURITY.md SP-12). */
int shim_pidfd_exit_status(int pidfd, int *status)
{
    struct pidfd_info_v1 info;
    memset(&info, 0, sizeof(info));
    info.mask = PIDFD_INFO_EXIT_BIT;
    if (ioctl(pidfd, PIDFD_GET_INFO_V1, &info))
        return -errno;
    if (!(info.mask & PIDFD_INFO_EXIT_BIT))
        return -ENODATA;
    *status = info.exit_code;
    return 0;
}
