/* The few library functions the compiler itself may call, and the entry point. */
#include "sys.h"

_Noreturn void die(int status)
{
    for (;;)
        SYS(__NR_exit_group, status, 0, 0, 0, 0, 0);
}

int str_eq(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

int str_starts(const char *s, const char *prefix)
{
    while (*prefix)
        if (*s++ != *prefix++)
            return 0;
    return 1;
}

size_t str_decimal(char *out, uint64_t value)
{
    char tmp[20];
    size_t n = 0;
    do
        tmp[n++] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    for (size_t i = 0; i < n; i++)
        out[i] = tmp[n - 1 - i];
    out[n] = 0;
    return n;
}

#ifndef SHIM_HOSTED

/* -fno-builtin semantics here: gcc would otherwise turn these loops into calls of themselves. */
#define NO_LOOP_IDIOM __attribute__((optimize("no-tree-loop-distribute-patterns")))

NO_LOOP_IDIOM void *memcpy(void *dst, const void *src, size_t n)
{
    char *d = dst;
    const char *s = src;
    while (n--)
        *d++ = *s++;
    return dst;
}

NO_LOOP_IDIOM void *memset(void *dst, int byte, size_t n)
{
    char *d = dst;
    while (n--)
        *d++ = (char)byte;
    return dst;
}

NO_LOOP_IDIOM void *memmove(void *dst, const void *src, size_t n)
{
    char *d = dst;
    const char *s = src;
    if (d < s)
        return memcpy(dst, src, n);
    while (n--)
        d[n] = s[n];
    return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *x = a, *y = b;
    for (; n; n--, x++, y++)
        if (*x != *y)
            return *x < *y ? -1 : 1;
    return 0;
}

NO_LOOP_IDIOM size_t strlen(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}

uintptr_t __stack_chk_guard = 0x595e9fbd94fda766;

_Noreturn void __stack_chk_fail(void);
_Noreturn void __stack_chk_fail(void) { die(255); }

int main(int argc, char **argv);
_Noreturn void shim_start(long *sp);

/* The guard is seeded from AT_RANDOM before any protected frame exists. */
__attribute__((optimize("no-stack-protector"))) _Noreturn void shim_start(long *sp)
{
    int argc = (int)sp[0];
    char **argv = (char **)(sp + 1);
    char **env = argv + argc + 1;
    while (*env)
        env++;
    for (const unsigned long *aux = (const unsigned long *)(env + 1); aux[0]; aux += 2)
        if (aux[0] == 25 /* AT_RANDOM */)
            memcpy(&__stack_chk_guard, (const void *)aux[1], sizeof(__stack_chk_guard));
        else if (aux[0] == 23 /* AT_SECURE */ && aux[1])
            die(255); /* never as a setuid program: SECURITY.md CV-03 */
    die(main(argc, argv));
}

/* clang-format off */
#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n xor %ebp,%ebp\n mov %rsp,%rdi\n and $-16,%rsp\n"
        " call shim_start\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n mov x29,#0\n mov x30,#0\n mov x0,sp\n and sp,x0,#-16\n"
        " bl shim_start\n");
#endif
/* clang-format on */

#endif
