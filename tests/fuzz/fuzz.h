/* The entry point of every fuzz target, as libFuzzer calls it.
 * Thread: the fuzzer's. */
#ifndef SPLITRING_TESTS_FUZZ_H
#define SPLITRING_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#endif
