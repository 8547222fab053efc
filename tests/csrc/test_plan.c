/* plan_check: each rule by a table, then 200000 mutations of valid plans from a fixed seed. Whatever
 * passes is followed to its end under ASan and UBSan (SECURITY.md CV-19). */
#include "plan_blob.h"

#include <stdio.h>

#define ITERATIONS 200000
#define ROOM 1024
#define HEAD(field) offsetof(struct plan_header, field)
#define OP(i, field)                                                                               \
    (sizeof(struct plan_header) + (i) * sizeof(struct plan_op) + offsetof(struct plan_op, field))

static int failures;
static uint64_t sink;

static void expect(const char *what, int got, int wanted)
{
    if (got == wanted)
        return;
    printf("FAIL %s: plan_check gave %d, not %d\n", what, got, wanted);
    failures++;
}

static int check_copy(const unsigned char *blob, size_t size, uint32_t nfds)
{
    unsigned char *copy = blob_copy(blob, size);
    int err = plan_check(copy, size, nfds);
    if (!err)
        sink += blob_walk(copy, nfds);
    free(copy);
    return err;
}

struct patch {
    const char *what;
    size_t at, width;
    uint64_t value;
};

/* Offsets of data: 0 = header, END = one past the last byte, added to when the table is applied. */
#define END (1ull << 40)
#define DATA (2ull << 40)

static const struct patch refused[] = {
    {"magic", HEAD(magic), 4, PLAN_MAGIC ^ 1},
    {"version 0", HEAD(version), 4, 0},
    {"version 2", HEAD(version), 4, PLAN_VERSION + 1},
    {"total one less", HEAD(total), 4, END - 1},
    {"total one more", HEAD(total), 4, END + 1},
    {"total 0", HEAD(total), 4, 0},
    {"no ops", HEAD(nops), 4, 0},
    {"one op more than the data offset says", HEAD(nops), 4, 6},
    {"one op less than the data offset says", HEAD(nops), 4, 4},
    {"too many ops", HEAD(nops), 4, PLAN_MAX_OPS + 1},
    {"ops times size overflows", HEAD(nops), 4, 0x04000005},
    {"ops offset 0", HEAD(ops_off), 4, 0},
    {"ops offset within data", HEAD(ops_off), 4, DATA},
    {"data offset one less", HEAD(data_off), 4, DATA - 1},
    {"data offset at the end", HEAD(data_off), 4, END},
    {"last byte is not NUL", END - 1, 1, 'x'},
    {"descriptor -2", OP(0, fd), 4, (uint32_t)-2},
    {"descriptor INT_MIN", OP(0, fd), 4, 0x80000000},
    {"descriptor past the last", OP(0, fd), 4, VALID_FDS},
    {"descriptor INT_MAX", OP(0, fd), 4, 0x7fffffff},
    {"op 0", OP(0, code), 2, 0},
    {"op in the first gap", OP(0, code), 2, OP_KEYRING + 1},
    {"op before the second gap's end", OP(0, code), 2, OP_PROPAGATION - 1},
    {"op in the second gap", OP(0, code), 2, OP_CONSOLE + 1},
    {"op past the last", OP(0, code), 2, OP_HOME + 1},
    {"op 0xffff", OP(0, code), 2, 0xffff},
    {"EXEC that is not last", OP(0, code), 2, OP_EXEC},
    {"last op is not EXEC", OP(4, code), 2, OP_SETSID},
    {"string in the header", OP(1, str[0]), 4, 4},
    {"string in the ops", OP(1, str[0]), 4, DATA - 1},
    {"string at the end", OP(1, str[0]), 4, END},
    {"string past the end", OP(1, str[1]), 4, UINT32_MAX},
    {"third string at the end", OP(1, str[2]), 4, END},
    {"string of an op that needs none", OP(2, str[2]), 4, END},
    {"file system without destination", OP(1, str[0]), 4, 0},
    {"file system without type", OP(1, str[1]), 4, 0},
    {"host name without name", OP(3, str[0]), 4, 0},
    {"list in the ops", OP(1, list), 4, DATA - 4},
    {"list at the end", OP(1, list), 4, END},
    {"list with three bytes of count", OP(1, list), 4, END - 3},
    {"list past the end", OP(1, list), 4, UINT32_MAX},
    {"list2 at the end", OP(4, list2), 4, END},
    {"list2 whose count is text", OP(4, list2), 4, DATA},
    {"numbers whose count is text", OP(2, nums), 4, DATA},
    {"numbers past the end", OP(2, nums), 4, UINT32_MAX - 3},
    {"no argv", OP(4, list), 4, 0},
};

/* `at` and `value` may be relative to the data area or to the end. */
static uint64_t resolve(uint64_t v, size_t size)
{
    const uint64_t data = sizeof(struct plan_header) + 5 * sizeof(struct plan_op);
    if (v >= DATA - ROOM)
        return v - DATA + data;
    return v >= END - ROOM ? v - END + size : v;
}

static void test_rules(const unsigned char *valid, size_t size)
{
    expect("the valid plan", check_copy(valid, size, VALID_FDS), 0);
    expect("one descriptor less", check_copy(valid, size, VALID_FDS - 1), -EINVAL);
    expect("no descriptor", check_copy(valid, size, 0), -EINVAL);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        const struct patch *p = &refused[i];
        unsigned char blob[ROOM];
        memcpy(blob, valid, size);
        uint64_t value = resolve(p->value, size);
        memcpy(blob + resolve(p->at, size), &value, p->width); /* little-endian, as the format is */
        expect(p->what, check_copy(blob, size, VALID_FDS), -EINVAL);
    }
}

/* Counts and members of the lists themselves, which have no fixed place in the blob. */
static void test_lists(const unsigned char *valid, size_t size)
{
    static const uint32_t counts[] = {4, 1000, UINT32_MAX / 4, UINT32_MAX / 4 + 1, UINT32_MAX};
    static const uint32_t members[] = {0, 1, sizeof(struct plan_header), ROOM, UINT32_MAX};
    uint32_t argv, groups, bad;
    unsigned char blob[ROOM];
    memcpy(&argv, valid + OP(4, list), 4);
    memcpy(&groups, valid + OP(2, nums), 4);
    for (int i = 0; i < 5; i++) {
        memcpy(blob, valid, size);
        memcpy(blob + argv, &counts[i], 4);
        /* four entries: the fourth is the empty list's count, 0, which is no string */
        expect("count of argv", check_copy(blob, size, VALID_FDS), -EINVAL);
        memcpy(blob, valid, size);
        memcpy(blob + argv + 8, &members[i], 4);
        expect("member of argv", check_copy(blob, size, VALID_FDS), -EINVAL);
        if (i) {
            memcpy(blob, valid, size);
            memcpy(blob + groups, &counts[i], 4);
            expect("count of numbers", check_copy(blob, size, VALID_FDS), -EINVAL);
        }
    }
    bad = (uint32_t)size;
    memcpy(blob, valid, size);
    memcpy(blob + argv + 4, &bad, 4);
    expect("argv[0] at the end", check_copy(blob, size, VALID_FDS), -EINVAL);
    bad = 0;
    memcpy(blob, valid, size);
    memcpy(blob + argv, &bad, 4);
    expect("empty argv", check_copy(blob, size, VALID_FDS), -EINVAL);
}

static void head_set(unsigned char *blob, uint32_t nops, uint32_t ops_off, uint32_t data_off)
{
    memcpy(blob + HEAD(nops), &nops, 4);
    memcpy(blob + HEAD(ops_off), &ops_off, 4);
    memcpy(blob + HEAD(data_off), &data_off, 4);
}

/* Headers whose three numbers agree with each other and are wrong all the same. */
static void test_counts(const unsigned char *valid, size_t size)
{
    const uint32_t head = sizeof(struct plan_header), op = sizeof(struct plan_op);
    unsigned char blob[ROOM];
    memcpy(blob, valid, size);
    head_set(blob, 4, head + op, head + 5 * op);
    expect("ops that start later", check_copy(blob, size, VALID_FDS), -EINVAL);
    memcpy(blob, valid, size);
    head_set(blob, 0, head, head);
    expect("no ops and no room for them", check_copy(blob, size, VALID_FDS), -EINVAL);
    for (uint32_t nops = PLAN_MAX_OPS; nops <= PLAN_MAX_OPS + 1; nops++) {
        uint32_t extra = (nops - 5) * op, total = (uint32_t)size + extra, offset = 0;
        struct plan_op filler = {.code = OP_SETSID, .fd = -1}, last;
        unsigned char *large = calloc(1, total);
        memcpy(large, valid, head);
        head_set(large, nops, head, head + nops * op);
        memcpy(large + HEAD(total), &total, 4);
        for (uint32_t i = 0; i < nops - 1; i++)
            memcpy(large + head + i * op, &filler, op);
        memcpy(&last, valid + head + 4 * op, op);
        last.list += extra;
        last.list2 = 0;
        memcpy(large + head + (nops - 1) * op, &last, op);
        memcpy(large + head + nops * op, valid + head + 5 * op, size - head - 5 * op);
        for (int i = 0; i < 3; i++) {
            memcpy(&offset, large + last.list + 4 + 4 * i, 4);
            offset += extra;
            memcpy(large + last.list + 4 + 4 * i, &offset, 4);
        }
        expect("number of ops", check_copy(large, total, 0), nops > PLAN_MAX_OPS ? -EINVAL : 0);
        free(large);
    }
}

static void test_sizes(const unsigned char *valid, size_t size)
{
    unsigned char blob[ROOM];
    for (size_t n = 0; n < size; n++) {
        expect("cut plan", check_copy(valid, n, VALID_FDS), -EINVAL);
        memcpy(blob, valid, size);
        uint32_t total = (uint32_t)n;
        memcpy(blob, valid, size);
        memcpy(blob + HEAD(total), &total, 4);
        /* a cut that ends in NUL and leaves every target inside may pass: then it must be walkable */
        (void)check_copy(blob, n, VALID_FDS);
    }
    unsigned char *large = calloc(1, PLAN_MAX_BYTES + 1);
    memcpy(large, valid, size);
    uint32_t total = PLAN_MAX_BYTES;
    memcpy(large + HEAD(total), &total, 4);
    expect("the largest plan", plan_check(large, total, VALID_FDS), 0);
    total++;
    memcpy(large + HEAD(total), &total, 4);
    expect("one byte too large", plan_check(large, total, VALID_FDS), -EINVAL);
    free(large);
}

static uint64_t xorshift(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    return *s ^= *s << 17;
}

static void mutate(unsigned char *blob, size_t *size, uint64_t *s)
{
    static const uint32_t odd[] = {
        0, 1, 3, 4, 5, 24, 0x7fffffff, 0x80000000, UINT32_MAX - 3, UINT32_MAX};
    for (uint64_t n = 1 + xorshift(s) % 3; n; n--) {
        uint64_t r = xorshift(s);
        size_t at = (r >> 8) % *size;
        uint32_t v = odd[(r >> 40) % 10];
        switch (r % 5) {
        case 0: blob[at] ^= (unsigned char)(1u << (r >> 32) % 8); break;
        case 1: blob[at] = (unsigned char)(r >> 32); break;
        case 2:
            v = (uint32_t)(*size - 8 + (r >> 40) % 12); /* around the end */
            __attribute__((fallthrough));
        case 3:
            at &= ~(size_t)3;
            memcpy(blob + at, &v, *size - at < 4 ? *size - at : 4);
            break;
        default: /* another size, honestly declared */
            *size = 89 + r % (ROOM - 89);
            v = (uint32_t)*size;
            memcpy(blob + HEAD(total), &v, 4);
        }
    }
    if (xorshift(s) % 2)
        blob[*size - 1] = 0;
}

static void test_mutations(const unsigned char *valid, size_t size)
{
    uint64_t s = 0x9e3779b97f4a7c15;
    unsigned passed = 0;
    for (int i = 0; i < ITERATIONS; i++) {
        unsigned char blob[ROOM] = {0};
        size_t n = size;
        memcpy(blob, valid, size);
        mutate(blob, &n, &s);
        passed += check_copy(blob, n, VALID_FDS) == 0;
    }
    printf("%d mutations, %u passed the check and were followed\n", ITERATIONS, passed);
    /* neither a check that refuses everything nor one that looks at nothing */
    if (passed < ITERATIONS / 20 || passed > ITERATIONS / 20 * 19) {
        printf("FAIL the mutations test nothing\n");
        failures++;
    }
}

int main(void)
{
    unsigned char valid[ROOM];
    size_t size = blob_valid(valid, sizeof(valid));
    test_rules(valid, size);
    test_lists(valid, size);
    test_counts(valid, size);
    test_sizes(valid, size);
    test_mutations(valid, size);
    printf("%d failures, checksum %llu\n", failures, (unsigned long long)sink);
    return failures != 0;
}
