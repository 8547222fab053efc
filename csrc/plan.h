/* The packed plan: the wire format between shim.model.plan (Python) and shim-executor (C).
 *
 * One self-contained blob of little-endian fields: a header, `nops` fixed-size records, then a
 * data area that records point into by offset from the start of the blob. Offset 0 means "absent".
 * plan.c checks every offset, length and terminator before the first op runs (SECURITY.md CV-19),
 * so the interpreter may follow them without looking again.
 *
 * tests/contract/test_plan_format.py parses this file and holds shim/model/plan.py against it.
 */
#ifndef SHIM_PLAN_H
#define SHIM_PLAN_H

#include <stdint.h>

#define PLAN_MAGIC 0x4c504853u /* "SHPL" */
#define PLAN_VERSION 1u
#define PLAN_MAX_BYTES (8u << 20)
#define PLAN_MAX_OPS 4096u
#define PLAN_MAX_FDS 240 /* SCM_MAX_FD is 253 */

struct plan_header {
    uint32_t magic;
    uint32_t version;
    uint32_t total;    /* bytes of the whole blob */
    uint32_t nops;
    uint32_t ops_off;  /* always sizeof(struct plan_header) */
    uint32_t data_off; /* ops_off + nops * sizeof(struct plan_op) */
};

/* `fd` is an index into the descriptors handed over beside the plan, -1 for none.
 * `list` and `list2` point at: uint32 count, then count uint32 string offsets.
 * `nums` points at: uint32 count, then count uint32 values. */
struct plan_op {
    uint16_t code;
    uint16_t flags;
    int32_t fd;
    uint64_t num[4];
    uint32_t str[3];
    uint32_t list;
    uint32_t list2;
    uint32_t nums;
};

/* The tables below are aligned by hand. */
/* clang-format off */
enum plan_code {
    /* stage 1: still in the caller's pid namespace, still privileged */
    OP_OOM_SCORE_ADJ = 1, /* num0 = value (int64) */
    OP_RLIMIT = 2,        /* num0 = resource, num1 = soft, num2 = hard */
    OP_JOIN_NS = 3,       /* fd = namespace, num0 = CLONE_NEW* */
    OP_UNSHARE = 4,       /* num0 = CLONE_NEW* mask */
    OP_SYNC = 5,          /* num0 = sync point number */
    OP_ROOT_IDS = 6,      /* uid and gid 0 of the user namespace just entered */
    OP_TIME_OFFSETS = 7,  /* str0 = text for /proc/self/timens_offsets */
    OP_FORK = 8,          /* sibling child enters the pid namespace; this process reports and ends */
    OP_SETSID = 9,
    OP_JOIN_PIDFD = 10,   /* fd = pidfd of init, num0 = CLONE_NEW* mask */
    OP_CHECK_ROOT = 11,   /* num0 = dev, num1 = ino, num2 = mount id */
    OP_LOOPBACK_UP = 12,
    OP_KEYRING = 13,      /* str0 = session keyring name */

    /* stage 2: file systems */
    OP_PROPAGATION = 20,   /* num0 = MS_* propagation, on "/" */
    OP_ROOT_BIND = 21,     /* fd = rootfs directory of this mount namespace, or a detached tree of it,
                              which is attached on str0 (its path) or, without one, over "/" */
    OP_MOUNT_OVERLAY = 22, /* str0 = destination, str1 = lower directory, list = data, num0 = attr set */
    OP_MOUNT_FS = 23,      /* str0 = destination, str1 = type, str2 = source, list = "k" or "k=v" data,
                              num0 = attr set, num1 = propagation, flags: MOUNT_* */
    OP_MOUNT_BIND = 24,    /* str0 = destination, fd = detached tree, num0 = attr set, num1 = attr clear,
                              num2 = propagation, num3 = 1 when the recursive masks below apply,
                              nums = {set_lo, clr_lo} applied with AT_RECURSIVE */
    OP_REMOUNT = 25,       /* str0 = destination, num0 = attr set, num1 = attr clear, num2 = propagation */
    OP_MKNOD = 26,         /* str0 = path, num0 = mode with type, num1 = dev_t, num2 = uid<<32|gid, fd = host
                              device to bind instead when mknod is refused, or -1 */
    OP_SYMLINK = 27,       /* str0 = target, str1 = path */
    OP_MASK_PATH = 28,     /* str0 */
    OP_READONLY_PATH = 29, /* str0 */
    OP_PIVOT_ROOT = 30,    /* flags: PIVOT_MOVE = MS_MOVE and chroot instead */
    OP_SYSCTL = 31,        /* str0 = path below /proc/sys, str1 = value */
    OP_HOSTNAME = 32,      /* str0 */
    OP_DOMAINNAME = 33,    /* str0 */
    OP_ROOT_ATTR = 34,     /* num0 = attr set on "/" after pivot_root, num1 = propagation */
    OP_REPORT_ROOT = 35,
    OP_CONSOLE = 36,       /* fd = unix socket for the master, num0 = rows<<16|cols,
                              num1 = uid that owns the terminal; flags: CONSOLE_* */

    /* stage 2: the process */
    OP_BOUNDING = 50,  /* num0 = capability mask to keep */
    OP_SETGROUPS = 51, /* nums */
    OP_SETIDS = 52,    /* num0 = uid, num1 = gid; keeps permitted capabilities */
    OP_CAPS = 53,      /* num0 = effective, num1 = permitted, num2 = inheritable, num3 = ambient */
    OP_NO_NEW_PRIVS = 54,
    OP_UMASK = 55,     /* num0 */
    OP_CHDIR = 56,     /* str0; flags: CHDIR_CREATE */
    OP_LOOKUP = 57,    /* resolve argv[0] of the EXEC op along its PATH and check that it can be run */
    OP_WAIT_START = 58, /* fd = listening socket; reports READY first */
    OP_CLOSE_FDS = 59, /* num0 = number of descriptors after stdio to keep */
    OP_HOME = 61, /* num0 = uid; adds HOME to the environment when it is missing */
    OP_EXEC = 60,      /* list = argv, list2 = environment; always last */
};

#define MOUNT_TMPCOPYUP 1
#define MOUNT_SYSFS_BIND 2 /* when the kernel refuses a new sysfs, bind the host's */
#define MOUNT_RDONLY_SB 4 /* "ro" belongs to the super block too */
#define PIVOT_MOVE 1
#define CHDIR_CREATE 1
#define CHDIR_FIRST_TRY 2 /* permission denied is not final yet */
#define CONSOLE_BIND 1   /* bind the slave on /dev/console of the new root (before pivot_root) */
#define CONSOLE_JOINED 2 /* after a join: the container's devpts is at /dev/pts of "/" */
#define BIND_RECURSIVE_ATTR 1
#define BIND_SHARED_PEER 2 /* stay a peer of the host's mount: rootfsPropagation and the mount are shared */
#define MKNOD_BIND 1 /* bind straight away: a user namespace cannot mknod */

/* Messages on the sync socket (SOCK_SEQPACKET), in both directions, always this size. */
enum msg_type {
    MSG_ERROR = 1, /* step, err, detail */
    MSG_SYNC = 2,  /* v0 = sync point reached; the child waits for MSG_GO */
    MSG_GO = 3,
    MSG_PID = 4,   /* v0 = pid of the forked child, in the caller's pid namespace */
    MSG_ROOT = 5,  /* v0 = dev, v1 = ino, v2 = mount id */
    MSG_READY = 6, /* set up, waiting on the start socket */
};

/* clang-format on */
struct msg {
    uint32_t type;
    uint32_t step;
    int32_t err;
    uint32_t detail;
    uint64_t v[4];
};

#define D_INDEX(detail, i) ((uint32_t)(detail) | (uint32_t)(i) << 8)

/* What inside an op went wrong; shim/model/plan.py has the words. */
/* clang-format off */
enum plan_detail {
    D_NONE = 0,
    D_OPEN_TARGET = 1, /* the destination below the new root */
    D_MAKE_TARGET = 2,
    D_FSOPEN = 3,
    D_FSCONFIG = 4,    /* D_INDEX(D_FSCONFIG, i): i = 1 + index of the option, 0 = create */
    D_FSMOUNT = 5,
    D_SETATTR = 6,
    D_MOVE_MOUNT = 7,
    D_PROPAGATION = 8,
    D_COPYUP = 9,
    D_CLONE_TREE = 10,
    D_NOT_PROC = 11,   /* the file is not on a procfs */
    D_SYMLINK = 12,    /* refused: a symlink where a directory must be */
    D_WRITE = 13,
    D_CREATE = 14,
    D_CHECK = 15,      /* identity does not match what was recorded */
    D_CWD = 16,        /* the working directory is outside the container */
    D_NOT_FOUND = 17,  /* executable file not found in $PATH */
    D_PTY = 18,
    D_SEND = 19,
    D_FORK = 20,
    D_PARENT = 21,     /* the parent died */
    D_PLAN = 22,       /* malformed plan */
    D_AMBIENT = 23,
    D_SETGROUPS_DENIED = 24,
};
/* clang-format on */

#endif
