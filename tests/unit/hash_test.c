/* Known values of Redis Cluster, and the sliced CRC against the textbook one. */
#include <criterion/criterion.h>

#include "splitring/base/hash.h"
#include "splitring/base/rng.h"

static uint16_t crc16_bitwise(const unsigned char *ptr, size_t len)
{
    unsigned crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)ptr[i] << 8;
        for (int bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
    }
    return (uint16_t)crc;
}

Test(hash, crc16)
{
    cr_assert_eq(hash_crc16("123456789", 9), 0x31c3);
    cr_assert_eq(hash_crc16(NULL, 0), 0);
    struct rng rng;
    rng_seed(&rng, 1);
    for (int i = 0; i < 20000; i++) {
        char bytes[64];
        size_t len = rng_below(&rng, sizeof(bytes) + 1);
        for (size_t k = 0; k < len; k++) bytes[k] = (char)rng_next(&rng);
        cr_assert_eq(hash_crc16(bytes, len), crc16_bitwise((unsigned char *)bytes, len), "%zu",
                     len);
    }
}

Test(hash, slots)
{
    cr_assert_eq(hash_slot(SLICE("123456789")), 12739);
    cr_assert_eq(hash_slot(SLICE("foo")), 12182);
    cr_assert_eq(hash_slot(SLICE("")), 0);
    cr_assert_eq(hash_slot(SLICE("{user1000}.following")), hash_slot(SLICE("user1000")));
    cr_assert_eq(hash_slot(SLICE("{user1000}.followers")), hash_slot(SLICE("user1000")));
    cr_assert_eq(hash_slot(SLICE("foo{bar}{zap}")), hash_slot(SLICE("bar")));
    /* The first '}' after the first '{' ends the tag, whatever it holds. */
    cr_assert_eq(hash_slot(SLICE("foo{{bar}}zap")), hash_slot(SLICE("{bar")));
    /* An empty tag is none, and later braces do not count. */
    cr_assert_eq(hash_slot(SLICE("foo{}{bar}")),
                 crc16_bitwise((const unsigned char *)"foo{}{bar}", 10) % SLOT_COUNT);
    cr_assert_eq(hash_slot(SLICE("foo{bar")),
                 crc16_bitwise((const unsigned char *)"foo{bar", 7) % SLOT_COUNT);
    cr_assert_eq(hash_slot(SLICE("}{a}")), hash_slot(SLICE("a")));
}

Test(hash, keys_depend_on_the_seed)
{
    cr_assert_eq(hash_key(SLICE("key"), 1), hash_key(SLICE("key"), 1));
    cr_assert_neq(hash_key(SLICE("key"), 1), hash_key(SLICE("key"), 2));
    cr_assert_neq(hash_key(SLICE(""), 1), hash_key(SLICE(""), 2));
}
