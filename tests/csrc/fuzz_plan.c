/* libFuzzer: whatever passes plan_check can be followed to its end. */
#include "plan_blob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* the number of descriptors is the caller's, not the blob's: take it from the first byte */
    uint32_t nfds = size ? data[0] % 4 : 0;
    size_t n = size ? size - 1 : 0;
    unsigned char *blob = blob_copy(size ? data + 1 : data, n);
    if (plan_check(blob, n, nfds) == 0)
        (void)blob_walk(blob, nfds);
    free(blob);
    return 0;
}
