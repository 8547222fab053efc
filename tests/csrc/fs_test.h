/* A tiny harness for the file-system ops: hand-built ops against a real mount namespace.
 * Every test runs as its own process, in its own mount namespace, below a tmpfs on /mnt. */
#ifndef FS_TEST_H
#define FS_TEST_H

#include <stdio.h>
#include <string.h>

#include "fs.h"

/* libc's own headers for these contradict the kernel's that sys.h needs. */
_Noreturn void exit(int status);
int fork(void);
int waitpid(int pid, int *status, int options);
int kill(int pid, int sig);
int setsid(void);
int chmod(const char *path, unsigned mode);
char *getcwd(char *buf, size_t size);

#define BASE "/mnt"
#define ROOTFS BASE "/rootfs"
#define CANARY BASE "/canary"

struct test {
    const char *name;
    void (*run)(void);
};
extern const struct test path_tests[], mount_tests[], root_tests[], dev_tests[], user_tests[];

#define CHECK(cond)                                                                                \
    do                                                                                             \
        if (!(cond)) {                                                                             \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #cond);                                      \
            exit(1);                                                                               \
        }                                                                                          \
    while (0)
#define EQUAL(got, want)                                                                           \
    do {                                                                                           \
        long g_ = (long)(got), w_ = (long)(want);                                                  \
        if (g_ != w_) {                                                                            \
            printf("%s:%d: %s is %ld, not %ld\n", __FILE__, __LINE__, #got, g_, w_);               \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* The op under construction and what it points into. */
struct built {
    struct ctx c;
    struct plan_op op;
    unsigned char data[16384];
    uint32_t used;
    int fds[4];
    uint32_t detail;
};

void build(struct built *b, int rootfd);
void set_str(struct built *b, int i, const char *s);
void set_list(struct built *b, const char *const *items); /* NULL-terminated */
void set_nums(struct built *b, uint32_t a, uint32_t n);
void set_fd(struct built *b, int fd);
/* Runs the op; fails the test when descriptors leak. */
int run(struct built *b, op_fn *fn);
/* The same with at most one descriptor (the new root) kept. */
int run_keeps(struct built *b, op_fn *fn, int kept);

/* mount, with options or NULL */
int mount_fs(struct built *b, const char *dst, const char *type, const char *const *items,
             uint64_t attr);

int open_fds(void);
int root_fd(void);   /* O_PATH on ROOTFS */
int bound_root(void); /* ROOTFS through op_root_bind */
void dir(const char *path, unsigned mode);
void file(const char *path, const char *text);
void slink(const char *target, const char *path);
/* 1 when `path` (never following a last symlink) is there */
int there(const char *path);
unsigned mode_of(const char *path);
int is_empty(const char *path);
int content_is(int at, const char *path, const char *text);
struct statx stat_at(int at, const char *path);

#endif
