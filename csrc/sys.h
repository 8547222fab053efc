/* System calls without a C library: shim-executor runs inside a container's mount namespace, where no
 * libc may be allowed to open a file (SECURITY.md EX-01, CV-26). Every wrapper returns -errno.
 * -DSHIM_HOSTED builds the same code on libc for the sanitizers. */
#ifndef SHIM_SYS_H
#define SHIM_SYS_H

#include <asm/errno.h>
#include <asm/fcntl.h>
#include <asm/ioctls.h>
#include <asm/signal.h>
#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/stat.h>
#include <stddef.h>
#include <stdint.h>

#define AT_FDCWD -100
#define AT_SYMLINK_NOFOLLOW 0x100
#define AT_EACCESS 0x200
#define AT_EMPTY_PATH 0x1000
#define AT_RECURSIVE 0x8000
#define MNT_DETACH 2
#ifndef F_DUPFD_CLOEXEC
#define F_DUPFD_CLOEXEC 1030
#endif
/* <linux/stat.h> leaves these to libc when there is one */
#ifndef S_IFMT
#define S_IFMT 0170000
#define S_IFLNK 0120000
#define S_IFREG 0100000
#define S_IFBLK 0060000
#define S_IFDIR 0040000
#define S_IFCHR 0020000
#define S_IFIFO 0010000
#endif
#ifndef O_CLOEXEC
#define O_CLOEXEC 02000000
#endif

#if defined(__x86_64__)
static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
    long ret;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}
#elif defined(__aarch64__)
static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory", "cc");
    return x0;
}
#else
#error "shim-executor: this architecture has no system call stub yet"
#endif

#define SYS(n, a, b, c, d, e, f)                                                                   \
    sys6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* lib.c */
void *memcpy(void *dst, const void *src, size_t n);
void *memset(void *dst, int byte, size_t n);
void *memmove(void *dst, const void *src, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int str_eq(const char *a, const char *b);
int str_starts(const char *s, const char *prefix);
/* Decimal digits of `value` at `out` (>= 21 bytes), NUL-terminated; returns the length. */
size_t str_decimal(char *out, uint64_t value);
_Noreturn void die(int status);

static inline int sys_close(int fd) { return (int)SYS(__NR_close, fd, 0, 0, 0, 0, 0); }
static inline long sys_read(int fd, void *buf, size_t n)
{
    return SYS(__NR_read, fd, buf, n, 0, 0, 0);
}
static inline long sys_write(int fd, const void *buf, size_t n)
{
    return SYS(__NR_write, fd, buf, n, 0, 0, 0);
}
static inline int sys_openat(int dir, const char *path, int flags, unsigned mode)
{
    return (int)SYS(__NR_openat, dir, path, flags | O_CLOEXEC, mode, 0, 0);
}
static inline int sys_openat2(int dir, const char *path, uint64_t flags, uint64_t mode,
                              uint64_t resolve)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
    return (int)SYS(__NR_openat2, dir, path, &how, sizeof(how), 0, 0);
}
static inline int sys_dup3(int from, int to, int flags)
{
    return (int)SYS(__NR_dup3, from, to, flags, 0, 0, 0);
}
static inline int sys_fcntl(int fd, int cmd, long arg)
{
    return (int)SYS(__NR_fcntl, fd, cmd, arg, 0, 0, 0);
}
static inline int sys_ioctl(int fd, unsigned long req, void *arg)
{
    return (int)SYS(__NR_ioctl, fd, req, arg, 0, 0, 0);
}
static inline int sys_prctl(int op, unsigned long a, unsigned long b, unsigned long c)
{
    return (int)SYS(__NR_prctl, op, a, b, c, 0, 0);
}
static inline int sys_statx(int dir, const char *path, int flags, unsigned mask, struct statx *out)
{
    return (int)SYS(__NR_statx, dir, path, flags, mask, out, 0);
}
static inline int sys_mkdirat(int dir, const char *path, unsigned mode)
{
    return (int)SYS(__NR_mkdirat, dir, path, mode, 0, 0, 0);
}
static inline int sys_mknodat(int dir, const char *path, unsigned mode, uint64_t dev)
{
    return (int)SYS(__NR_mknodat, dir, path, mode, dev, 0, 0);
}
static inline int sys_symlinkat(const char *target, int dir, const char *path)
{
    return (int)SYS(__NR_symlinkat, target, dir, path, 0, 0, 0);
}
static inline long sys_readlinkat(int dir, const char *path, char *buf, size_t n)
{
    return SYS(__NR_readlinkat, dir, path, buf, n, 0, 0);
}
static inline int sys_fchownat(int dir, const char *path, uint32_t uid, uint32_t gid, int flags)
{
    return (int)SYS(__NR_fchownat, dir, path, uid, gid, flags, 0);
}
static inline int sys_fchmod(int fd, unsigned mode)
{
    return (int)SYS(__NR_fchmod, fd, mode, 0, 0, 0, 0);
}
static inline int sys_fchdir(int fd) { return (int)SYS(__NR_fchdir, fd, 0, 0, 0, 0, 0); }
static inline int sys_chdir(const char *path) { return (int)SYS(__NR_chdir, path, 0, 0, 0, 0, 0); }
static inline int sys_chroot(const char *path)
{
    return (int)SYS(__NR_chroot, path, 0, 0, 0, 0, 0);
}
static inline int sys_mount(const char *src, const char *dst, const char *type, unsigned long flags,
                            const void *data)
{
    return (int)SYS(__NR_mount, src, dst, type, flags, data, 0);
}
static inline int sys_umount2(const char *path, int flags)
{
    return (int)SYS(__NR_umount2, path, flags, 0, 0, 0, 0);
}
static inline int sys_pivot_root(const char *new_root, const char *put_old)
{
    return (int)SYS(__NR_pivot_root, new_root, put_old, 0, 0, 0, 0);
}
static inline int sys_open_tree(int dir, const char *path, unsigned flags)
{
    return (int)SYS(__NR_open_tree, dir, path, flags, 0, 0, 0);
}
static inline int sys_move_mount(int from, const char *from_path, int to, const char *to_path,
                                 unsigned flags)
{
    return (int)SYS(__NR_move_mount, from, from_path, to, to_path, flags, 0);
}
static inline int sys_fsopen(const char *type, unsigned flags)
{
    return (int)SYS(__NR_fsopen, type, flags, 0, 0, 0, 0);
}
static inline int sys_fsconfig(int fs, unsigned cmd, const char *key, const void *value, int aux)
{
    return (int)SYS(__NR_fsconfig, fs, cmd, key, value, aux, 0);
}
static inline int sys_fsmount(int fs, unsigned flags, unsigned attr)
{
    return (int)SYS(__NR_fsmount, fs, flags, attr, 0, 0, 0);
}
static inline int sys_mount_setattr(int dir, const char *path, unsigned flags,
                                    struct mount_attr *attr)
{
    return (int)SYS(__NR_mount_setattr, dir, path, flags, attr, sizeof(*attr), 0);
}
static inline unsigned sys_umask(unsigned mask)
{
    return (unsigned)SYS(__NR_umask, mask, 0, 0, 0, 0, 0);
}
static inline long sys_getdents64(int dir, void *buf, size_t n)
{
    return SYS(__NR_getdents64, dir, buf, n, 0, 0, 0);
}
/* The file system's magic number, the first word of struct statfs (<asm-generic/statfs.h>), or -errno. */
static inline long sys_fs_magic(int fd)
{
    long buf[32];
    long err = SYS(__NR_fstatfs, fd, buf, 0, 0, 0, 0);
    return err < 0 ? err : buf[0];
}
static inline int sys_setns(int fd, int type) { return (int)SYS(__NR_setns, fd, type, 0, 0, 0, 0); }
static inline int sys_unshare(unsigned long flags)
{
    return (int)SYS(__NR_unshare, flags, 0, 0, 0, 0, 0);
}
static inline int sys_getppid(void) { return (int)SYS(__NR_getppid, 0, 0, 0, 0, 0, 0); }
static inline int sys_getpid(void) { return (int)SYS(__NR_getpid, 0, 0, 0, 0, 0, 0); }

/* A zeroed full-size struct, so that a newer kernel reads no garbage (SECURITY.md section 9, rule 6). */
static inline long sys_clone3(uint64_t flags, uint64_t exit_signal, int *pidfd, int cgroup)
{
    struct clone_args args;
    memset(&args, 0, sizeof(args));
    args.flags = flags;
    args.exit_signal = exit_signal;
    args.pidfd = (uint64_t)(uintptr_t)pidfd;
    args.cgroup = (uint64_t)(cgroup < 0 ? 0 : cgroup);
    return SYS(__NR_clone3, &args, sizeof(args), 0, 0, 0, 0);
}

#endif
