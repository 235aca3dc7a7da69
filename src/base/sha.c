/* Blocks and padding of SHA-1 and SHA-256: the text's whole blocks are read where they lie, only
 * the last one or two, with the padding and the length, are put together here. Each digest brings
 * its own state and its way to add a block.
 * Source: FIPS 180-4, section 5.
 * Thread: any (pure). */
#include "sha.h"

void sha_digest(struct slice text, uint32_t *state,
                void (*add_block)(uint32_t *state, const uint8_t *block), uint8_t *out,
                unsigned len)
{
    uint8_t last[128] = {0};
    const uint8_t *bytes = (const uint8_t *)text.ptr;
    size_t left = text.len;
    for (; left >= 64; left -= 64, bytes += 64) add_block(state, bytes);
    if (left) memcpy(last, bytes, left);
    last[left] = 0x80;
    size_t padded = left < 56 ? 64 : 128;
    uint64_t bits = (uint64_t)text.len * 8;
    for (unsigned i = 0; i < 8; i++) last[padded - 1 - i] = (uint8_t)(bits >> (8 * i));
    add_block(state, last);
    if (padded == 128) add_block(state, last + 64);
    for (unsigned i = 0; i < len; i++) out[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}
