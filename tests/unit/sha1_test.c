/* SHA-1 against the examples of FIPS 180-4 and lengths around the block's end. */
#include <criterion/criterion.h>

#include "splitring/base/sha1.h"

static void expect(struct slice text, const char *hex)
{
    uint8_t digest[SHA1_LEN];
    char digits[2 * SHA1_LEN];
    sha1(text, digest);
    sha1_hex(digest, digits);
    cr_assert_eq(memcmp(digits, hex, sizeof(digits)), 0, "%zu bytes: %.40s", text.len, digits);
}

Test(sha1, examples)
{
    expect(SLICE(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    expect(SLICE("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    expect(SLICE("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
           "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
}

Test(sha1, padding)
{
    char text[200];
    memset(text, 'a', sizeof(text));
    expect(slice_of(text, 1), "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8");
    expect(slice_of(text, 55), "c1c8bbdc22796e28c0e15163d20899b65621d65a");
    expect(slice_of(text, 56), "c2db330f6083854c99d4b5bfb6e8f29f201be699");
    expect(slice_of(text, 57), "f08f24908d682555111be7ff6f004e78283d989a");
    expect(slice_of(text, 63), "03f09f5b158a7a8cdad920bddc29b81c18a551f5");
    expect(slice_of(text, 64), "0098ba824b5c16427bd7a1122a5a442a25ec644d");
    expect(slice_of(text, 65), "11655326c708d70319be2610e8a57d9a5b959d3b");
    expect(slice_of(text, 119), "ee971065aaa017e0632a8ca6c77bb3bf8b1dfc56");
    expect(slice_of(text, 120), "f34c1488385346a55709ba056ddd08280dd4c6d6");
    expect(slice_of(text, 128), "ad5b3fdbcb526778c2839d2f151ea753995e26a0");
    expect(slice_of(text, 200), "e61cfffe0d9195a525fc6cf06ca2d77119c24a40");
}
