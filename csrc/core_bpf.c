/* bpf(2) for device programs, by raw syscall: libbpf would be a dependency for four commands.
 * bpf(2), linux/bpf.h. */
#include "core_bpf.h"
#include "core.h" /* what Python sees: the compiler holds the two against each other */

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* SECURITY.md CV-35: kernels 6.17 to 7.1 write BPF_PROG_QUERY's `revision` past a short attribute, so
 * the kernel always gets a zeroed buffer that is larger than any of its fields. */
union attr {
    union bpf_attr bpf;
    unsigned char room[256];
};
_Static_assert(sizeof(union attr) >= 256, "CV-35");

static int call(int command, union attr *attr)
{
    long result = syscall(SYS_bpf, command, attr, sizeof(*attr));
    return result < 0 ? -errno : (int)result;
}

int shim_bpf_device_load(const void *insns, uint32_t count)
{
    static const char license[] = "Apache-2.0"; /* no helper is called that asks for GPL */
    union attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.bpf.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attr.bpf.insns = (uint64_t)(uintptr_t)insns;
    attr.bpf.insn_cnt = count;
    attr.bpf.license = (uint64_t)(uintptr_t)license;
    memcpy(attr.bpf.prog_name, "shim_devices", sizeof("shim_devices"));
    return call(BPF_PROG_LOAD, &attr); /* the kernel makes it CLOEXEC */
}

int shim_bpf_device_attach(int cgroup_fd, int prog_fd, uint32_t flags)
{
    union attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.bpf.target_fd = (uint32_t)cgroup_fd;
    attr.bpf.attach_bpf_fd = (uint32_t)prog_fd;
    attr.bpf.attach_type = BPF_CGROUP_DEVICE;
    attr.bpf.attach_flags = flags ? flags : BPF_F_ALLOW_MULTI;
    return call(BPF_PROG_ATTACH, &attr);
}

int shim_bpf_device_query(int cgroup_fd, uint32_t *ids, uint32_t *n)
{
    union attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.bpf.query.target_fd = (uint32_t)cgroup_fd;
    attr.bpf.query.attach_type = BPF_CGROUP_DEVICE;
    attr.bpf.query.prog_ids = (uint64_t)(uintptr_t)ids;
    attr.bpf.query.prog_cnt = *n;
    int result = call(BPF_PROG_QUERY, &attr);
    if (result >= 0 || result == -ENOSPC) {
        *n = attr.bpf.query.prog_cnt;
    }
    return result < 0 ? result : 0;
}

int shim_bpf_device_detach(int cgroup_fd, uint32_t prog_id)
{
    union attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.bpf.prog_id = prog_id;
    int prog_fd = call(BPF_PROG_GET_FD_BY_ID, &attr);
    if (prog_fd < 0) {
        return prog_fd;
    }
    memset(&attr, 0, sizeof(attr));
    attr.bpf.target_fd = (uint32_t)cgroup_fd;
    attr.bpf.attach_bpf_fd = (uint32_t)prog_fd;
    attr.bpf.attach_type = BPF_CGROUP_DEVICE;
    int result = call(BPF_PROG_DETACH, &attr);
    close(prog_fd);
    return result < 0 ? result : 0;
}
