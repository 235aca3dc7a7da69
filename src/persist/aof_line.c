/* The lines with checksums, `#CRC:<16 hex digits>:<bytes>`, written and read.
 *
 * A sum stands behind the bytes it is over, and says how many they are: so a block is found whole
 * even by who has lost the place, and a line that was moved or doubled does not fit. There is one
 * way to write a line, and only that is accepted: a flipped bit in the line itself is noticed, too.
 * Thread: any (pure). */
#include "aof_line.h"

#include "crc64.h"
#include "splitring/base/num.h"

#define HEX_DIGITS 16u

void aof_sum_add(struct aof_sum *sum, const char *ptr, size_t len)
{
    sum->crc = crc64(sum->crc, ptr, len);
    sum->bytes += len;
}

size_t aof_line_format(struct aof_sum sum, char out[AOF_SUM_LINE_MAX])
{
    size_t len = sizeof AOF_SUM_WORD - 1;
    memcpy(out, AOF_SUM_WORD, len);
    for (unsigned i = 0; i < HEX_DIGITS; i++)
        out[len++] = "0123456789abcdef"[sum.crc >> (60 - 4 * i) & 15];
    out[len++] = ':';
    return len + num_format_u64(out + len, sum.bytes);
}

size_t aof_sum_line(struct aof_sum *sum, char out[AOF_SUM_LINE_MAX])
{
    size_t len = aof_line_format(*sum, out);
    out[len++] = '\r';
    out[len++] = '\n';
    *sum = (struct aof_sum){0};
    return len;
}

bool aof_line_parse(struct slice line, struct aof_sum *sum)
{
    const size_t word = sizeof AOF_SUM_WORD - 1, digits = word + HEX_DIGITS;
    if (line.len <= digits || memcmp(line.ptr, AOF_SUM_WORD, word) != 0) return false;
    sum->crc = 0;
    for (size_t i = word; i < digits; i++) {
        char c = line.ptr[i];
        bool letter = c >= 'a' && c <= 'f';
        if (!letter && (c < '0' || c > '9')) return false;
        sum->crc = sum->crc << 4 | (uint64_t)(letter ? c - 'a' + 10 : c - '0');
    }
    return line.ptr[digits] == ':' &&
           num_parse_u64(slice_of(line.ptr + digits + 1, line.len - digits - 1), &sum->bytes);
}
