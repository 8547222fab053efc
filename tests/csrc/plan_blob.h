/* Blobs for the tests of plan_check: a valid one to start from, and a reader that follows everything an
 * op may follow once the check has passed. */
#ifndef PLAN_BLOB_H
#define PLAN_BLOB_H

#include "exec.h"

/* <stdlib.h> redefines what sys.h takes from the kernel's headers */
void *malloc(size_t n);
void *calloc(size_t n, size_t size);
void free(void *p);

#define VALID_FDS 2u

/* An exact-size heap copy, so that one byte past the end is one byte past what ASan allows. */
unsigned char *blob_copy(const unsigned char *from, size_t size);
/* Ops, strings, a string list, an empty list and a number array; the size is returned. */
size_t blob_valid(unsigned char *out, size_t room);
/* Reads every string, list and number of a plan that passed; the sum keeps the compiler from leaving
 * the reads out. */
uint64_t blob_walk(const unsigned char *blob, uint32_t nfds);

#endif
