/* Host-side primitives for shim.kernel.api: what the Python standard library lacks, nothing more.
 * Every function returns a descriptor, a pid or 0, and -errno on failure; none keeps state. */
#ifndef SHIM_CORE_H
#define SHIM_CORE_H

#include <stdint.h>

/* cffi-begin */
struct shim_spawn {
    int exe;                 /* sealed copy of shim-executor */
    const char *const *argv;
    const int *fds;          /* land on base, base+1, ... in the child */
    uint32_t nfds;
    int base;                /* descriptors 3 .. base-1 are passed on as they are */
    int stdio[3];            /* -1: the caller's own */
    int cgroup;              /* directory of the cgroup to be born in, -1: the caller's own */
    int migrate; /* write cgroup.procs instead of CLONE_INTO_CGROUP (SECURITY.md CG-01) */
};

/* pid of the child; *pidfd is its pidfd. Only async-signal-safe work happens between clone and exec. */
int shim_spawn(const struct shim_spawn *how, int *pidfd);
/* Read-only descriptor of a sealed in-memory copy of the file; scratch_dir serves where memfds are refused. */
int shim_sealed_copy(const char *path, const char *scratch_dir);
/* A sealed memfd with these bytes. */
int shim_sealed_bytes(const char *name, const void *data, uint64_t size);

int shim_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int shim_open_tree(int dirfd, const char *path, uint32_t flags);
int shim_mount_setattr(int dirfd, const char *path, uint32_t flags, uint64_t set, uint64_t clr,
                       uint64_t propagation);
/* out = { dev major << 32 | minor, inode, mount id or 0 } */
int shim_mount_identity(int dirfd, const char *path, int flags, uint64_t *out);

int shim_timerfd(int clock);
/* Absolute deadline on the timer's clock in nanoseconds; 0 disarms. */
int shim_timerfd_set(int fd, uint64_t deadline_ns);
int shim_signalfd(const int *signals, uint32_t n);
int shim_inotify(const char *path, uint32_t mask);
int shim_pidfd_exit_status(int pidfd, int *status);

int shim_bpf_device_load(const void *insns, uint32_t count);
int shim_bpf_device_attach(int cgroup_fd, int prog_fd, uint32_t flags);
int shim_bpf_device_query(int cgroup_fd, uint32_t *ids, uint32_t *n);
int shim_bpf_device_detach(int cgroup_fd, uint32_t prog_id);
/* cffi-end */

#endif
