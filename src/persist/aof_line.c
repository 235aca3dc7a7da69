/* The lines with checksums, `#CRC:<16 hex digits>:<bytes>` or `…:<bytes>:<lag>`, written and read.
 *
 * A sum stands behind the bytes it is over, and says how many they are: so a block is found whole
 * even by who has lost the place, and a line that was moved or doubled does not fit. There is one
 * way to write a line, and only that is accepted: a flipped bit in the line itself is noticed, too.
 *
 * The lag tells a loader that finds a hole what was on the disk when the block behind it was
 * written: without one all that came before it was synced, so the hole is damage; else it may be a
 * write that a power loss took, though a later one came through.
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

static size_t format_lag(uint64_t lag, char *out)
{
    if (lag == 0) return 0;
    out[0] = ':';
    return 1 + num_format_u64(out + 1, lag);
}

uint64_t aof_sum_final(struct aof_sum sum)
{
    char text[32];
    return crc64(sum.crc, text, format_lag(sum.lag, text));
}

size_t aof_line_format(struct aof_sum sum, char out[AOF_SUM_LINE_MAX])
{
    uint64_t crc = aof_sum_final(sum);
    size_t len = sizeof AOF_SUM_WORD - 1;
    memcpy(out, AOF_SUM_WORD, len);
    for (unsigned i = 0; i < HEX_DIGITS; i++)
        out[len++] = "0123456789abcdef"[crc >> (60 - 4 * i) & 15];
    out[len++] = ':';
    len += num_format_u64(out + len, sum.bytes);
    return len + format_lag(sum.lag, out + len);
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
    if (line.ptr[digits] != ':') return false;
    struct slice rest = slice_of(line.ptr + digits + 1, line.len - digits - 1);
    const char *colon = rest.len ? memchr(rest.ptr, ':', rest.len) : NULL;
    size_t first = colon ? (size_t)(colon - rest.ptr) : rest.len;
    sum->lag = 0;
    if (colon && (!num_parse_u64(slice_of(colon + 1, rest.len - first - 1), &sum->lag) ||
                  sum->lag == 0))
        return false;
    return num_parse_u64(slice_of(rest.ptr, first), &sum->bytes);
}
