/* eBPF device programs of a cgroup v2, for shim._core. Every function returns -errno on failure. */
#ifndef SHIM_CORE_BPF_H
#define SHIM_CORE_BPF_H

#include <stdint.h>

/* Load `count` instructions (8 bytes each) as a CGROUP_DEVICE program; returns a CLOEXEC descriptor.
 * -EACCES or -EINVAL from the verifier means that shim.engine.devices made a wrong program. */
int shim_bpf_device_load(const void *insns, uint32_t count);

/* Attach; `flags` 0 means BPF_F_ALLOW_MULTI, with which every attached program must permit. */
int shim_bpf_device_attach(int cgroup_fd, int prog_fd, uint32_t flags);

/* Ids of the device programs attached to this very cgroup. *n: in room, out number found; -ENOSPC when
 * there are more than room. */
int shim_bpf_device_query(int cgroup_fd, uint32_t *ids, uint32_t *n);

/* Detach the program with this id (from a query) from the cgroup. */
int shim_bpf_device_detach(int cgroup_fd, uint32_t prog_id);

#endif
