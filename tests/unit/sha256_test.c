/* SHA-256 against the examples of FIPS 180-4 and lengths around the block's end. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "splitring/base/sha256.h"

static void expect(struct slice text, const char *hex)
{
    uint8_t digest[SHA256_LEN];
    char digits[2 * SHA256_LEN + 1];
    sha256(text, digest);
    for (unsigned i = 0; i < SHA256_LEN; i++) snprintf(digits + 2 * i, 3, "%02x", digest[i]);
    cr_assert_str_eq(digits, hex, "%zu bytes", text.len);
}

Test(sha256, examples)
{
    expect(SLICE(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect(SLICE("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect(SLICE("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
           "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

Test(sha256, padding)
{
    char text[200];
    memset(text, 'a', sizeof(text));
    expect(slice_of(text, 1), "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb");
    expect(slice_of(text, 55), "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
    expect(slice_of(text, 56), "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a");
    expect(slice_of(text, 57), "f13b2d724659eb3bf47f2dd6af1accc87b81f09f59f2b75e5c0bed6589dfe8c6");
    expect(slice_of(text, 63), "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34");
    expect(slice_of(text, 64), "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
    expect(slice_of(text, 65), "635361c48bb9eab14198e76ea8ab7f1a41685d6ad62aa9146d301d4f17eb0ae0");
    expect(slice_of(text, 119), "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb");
    expect(slice_of(text, 120), "2f3d335432c70b580af0e8e1b3674a7c020d683aa5f73aaaedfdc55af904c21c");
    expect(slice_of(text, 128), "6836cf13bac400e9105071cd6af47084dfacad4e5e302c94bfed24e013afb73e");
    expect(slice_of(text, 200), "c2a908d98f5df987ade41b5fce213067efbcc21ef2240212a41e54b5e7c28ae5");
}

Test(sha256, sameness)
{
    uint8_t a[SHA256_LEN] = {0}, b[SHA256_LEN] = {0};
    cr_assert(sha256_same(a, b));
    for (unsigned i = 0; i < SHA256_LEN; i++) {
        b[i] = 1;
        cr_assert_not(sha256_same(a, b), "byte %u", i);
        b[i] = 0;
    }
}
