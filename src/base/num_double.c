/* Doubles: scores, coordinates, RESP3 numbers.
 *
 * Printing must give the same bytes as Redis 7.2 and later, which use Grisu2: the digits always
 * read back as the same double, and are the fewest in 99.9 % of cases; in the others clients still
 * compare strings. So this is Grisu2 too, with the same cached powers and choice among them.
 * Source: F. Loitsch, "Printing floating-point numbers quickly and accurately with integers", 2010.
 *
 * Reading has a fast road for what people send ("3.14", "-100", "0.5"): up to 15 digits and a power
 * of ten up to 22 are both exact as doubles, so one division rounds correctly (W. Clinger, 1990).
 * Everything else, hexadecimal too, is libc's.
 * Thread: any (pure). */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "splitring/base/mem.h"
#include "splitring/base/num.h"

__extension__ typedef unsigned __int128 u128;

/* ---- reading ---- */

static bool parse_short(struct slice s, double *out)
{
    static const double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    size_t i = s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+') ? 1 : 0;
    if (s.len == i || s.len - i > 16) return false;
    uint64_t digits = 0;
    size_t count = 0, after_point = 0;
    bool point = false;
    for (; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (c < '0' || c > '9') return false;
        digits = digits * 10 + (uint64_t)(c - '0');
        count++;
        after_point += point;
    }
    if (count == 0 || count > 15) return false;
    double value = (double)digits / powers[after_point];
    *out = s.ptr[0] == '-' ? -value : value;
    return true;
}

static bool parse_by_libc(const char *text, size_t len, double *out)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end != text + len || isnan(value)) return false;
    if (errno == ERANGE && (isinf(value) || value == 0)) return false;
    *out = value;
    return true;
}

bool num_parse_double(struct slice s, double *out)
{
    if (parse_short(s, out)) return true;
    if (s.len == 0 || s.ptr[0] == ' ' || (s.ptr[0] >= '\t' && s.ptr[0] <= '\r')) return false;

    char small[256];
    char *text = s.len < sizeof(small) ? small : mem_try_alloc(s.len + 1);
    if (text == NULL) return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    bool ok = parse_by_libc(text, s.len, out);
    if (text != small) mem_free(text);
    return ok;
}

/* ---- printing ---- */

/* value = frac * 2^exp */
struct scaled {
    uint64_t frac;
    int exp;
};

#define POWER_FIRST (-348)
#define POWER_STEP 8

/* 10^-348, 10^-340 .. 10^340, scaled to 64 bits and rounded. */
static const uint64_t cached_powers[87] = {
    0xfa8fd5a0081c0288u, 0xbaaee17fa23ebf76u, 0x8b16fb203055ac76u, 0xcf42894a5dce35eau,
    0x9a6bb0aa55653b2du, 0xe61acf033d1a45dfu, 0xab70fe17c79ac6cau, 0xff77b1fcbebcdc4fu,
    0xbe5691ef416bd60cu, 0x8dd01fad907ffc3cu, 0xd3515c2831559a83u, 0x9d71ac8fada6c9b5u,
    0xea9c227723ee8bcbu, 0xaecc49914078536du, 0x823c12795db6ce57u, 0xc21094364dfb5637u,
    0x9096ea6f3848984fu, 0xd77485cb25823ac7u, 0xa086cfcd97bf97f4u, 0xef340a98172aace5u,
    0xb23867fb2a35b28eu, 0x84c8d4dfd2c63f3bu, 0xc5dd44271ad3cdbau, 0x936b9fcebb25c996u,
    0xdbac6c247d62a584u, 0xa3ab66580d5fdaf6u, 0xf3e2f893dec3f126u, 0xb5b5ada8aaff80b8u,
    0x87625f056c7c4a8bu, 0xc9bcff6034c13053u, 0x964e858c91ba2655u, 0xdff9772470297ebdu,
    0xa6dfbd9fb8e5b88fu, 0xf8a95fcf88747d94u, 0xb94470938fa89bcfu, 0x8a08f0f8bf0f156bu,
    0xcdb02555653131b6u, 0x993fe2c6d07b7facu, 0xe45c10c42a2b3b06u, 0xaa242499697392d3u,
    0xfd87b5f28300ca0eu, 0xbce5086492111aebu, 0x8cbccc096f5088ccu, 0xd1b71758e219652cu,
    0x9c40000000000000u, 0xe8d4a51000000000u, 0xad78ebc5ac620000u, 0x813f3978f8940984u,
    0xc097ce7bc90715b3u, 0x8f7e32ce7bea5c70u, 0xd5d238a4abe98068u, 0x9f4f2726179a2245u,
    0xed63a231d4c4fb27u, 0xb0de65388cc8ada8u, 0x83c7088e1aab65dbu, 0xc45d1df942711d9au,
    0x924d692ca61be758u, 0xda01ee641a708deau, 0xa26da3999aef774au, 0xf209787bb47d6b85u,
    0xb454e4a179dd1877u, 0x865b86925b9bc5c2u, 0xc83553c5c8965d3du, 0x952ab45cfa97a0b3u,
    0xde469fbd99a05fe3u, 0xa59bc234db398c25u, 0xf6c69a72a3989f5cu, 0xb7dcbf5354e9beceu,
    0x88fcf317f22241e2u, 0xcc20ce9bd35c78a5u, 0x98165af37b2153dfu, 0xe2a0b5dc971f303au,
    0xa8d9d1535ce3b396u, 0xfb9b7cd9a4a7443cu, 0xbb764c4ca7a44410u, 0x8bab8eefb6409c1au,
    0xd01fef10a657842cu, 0x9b10a4e5e9913129u, 0xe7109bfba19c0c9du, 0xac2820d9623bf429u,
    0x80444b5e7aa7cf85u, 0xbf21e44003acdd2du, 0x8e679c2f5e44ff8fu, 0xd433179d9c8cb841u,
    0x9e19db92b4e31ba9u, 0xeb96bf6ebadf77d9u, 0xaf87023b9bf0ee6bu,
};

/* Exponent of the cached power: floor(log2(10^power)) - 63; the product is exact over the range. */
static int power_exp(int power) { return ((power * 217706) >> 16) - 63; }

static struct scaled multiply(struct scaled a, struct scaled b)
{
    u128 product = (u128)a.frac * b.frac + ((u128)1 << 63);
    return (struct scaled){(uint64_t)(product >> 64), a.exp + b.exp + 64};
}

static struct scaled normalize(struct scaled a)
{
    int shift = __builtin_clzll(a.frac);
    return (struct scaled){a.frac << shift, a.exp - shift};
}

/* The smallest cached power that brings a product with 2^exp to 2^-60 .. 2^-32: its integer part
 * then has at most ten digits and its fraction survives a multiplication by ten. */
static int choose_power(int exp)
{
    /* 78913 / 2^18 is log10(2), a little low; the loop makes up for it. */
    int steps = ((-(exp + 124) * 78913 >> 18) - POWER_FIRST) / POWER_STEP;
    int power = POWER_FIRST + (steps > 0 ? steps - 1 : 0) * POWER_STEP;
    while (exp + power_exp(power) + 64 < -60) power += POWER_STEP;
    return power;
}

/* Lowers the last digit while that brings the number nearer to the true value. */
static void round_last(char *last, uint64_t delta, uint64_t rest, uint64_t unit, uint64_t distance)
{
    while (rest < distance && delta - rest >= unit &&
           (rest + unit < distance || distance - rest > rest + unit - distance)) {
        (*last)--;
        rest += unit;
    }
}

/* Digits of the shortest number between upper - delta and upper, near upper - distance. Returns
 * their count; *power is the decimal exponent of the last one. */
static int make_digits(struct scaled upper, uint64_t delta, uint64_t distance, char *digits,
                       int *power)
{
    int shift = -upper.exp;
    uint64_t one = (uint64_t)1 << shift;
    uint64_t whole = upper.frac >> shift;
    uint64_t part = upper.frac & (one - 1);
    int count = 0, left = 10;
    for (uint64_t unit = 1000000000; left > 0; unit /= 10) {
        uint64_t digit = whole / unit;
        if (digit || count) digits[count++] = (char)('0' + digit);
        whole -= digit * unit;
        left--;
        uint64_t rest = (whole << shift) + part;
        if (rest <= delta) {
            *power += left;
            round_last(digits + count - 1, delta, rest, unit << shift, distance);
            return count;
        }
    }
    for (uint64_t unit = 10;; unit *= 10) {
        part *= 10;
        delta *= 10;
        left--;
        uint64_t digit = part >> shift;
        if (digit || count) digits[count++] = (char)('0' + digit);
        part &= one - 1;
        if (part < delta) {
            *power += left;
            round_last(digits + count - 1, delta, part, one, distance * unit);
            return count;
        }
    }
}

static int grisu2(uint64_t bits, char *digits, int *power)
{
    const uint64_t hidden = (uint64_t)1 << 52;
    struct scaled value = {bits & (hidden - 1), (int)(bits >> 52 & 0x7ff)};
    if (value.exp) {
        value.frac += hidden;
        value.exp -= 1075;
    } else {
        value.exp = -1074;
    }
    /* Half way to the neighbours; the lower one is nearer below a power of two. */
    struct scaled upper = normalize((struct scaled){value.frac * 2 + 1, value.exp - 1});
    int down = value.frac == hidden ? 2 : 1;
    struct scaled lower = {(value.frac << down) - 1, value.exp - down};
    lower.frac <<= lower.exp - upper.exp;
    lower.exp = upper.exp;

    int cached = choose_power(upper.exp);
    struct scaled ten = {cached_powers[(cached - POWER_FIRST) / POWER_STEP], power_exp(cached)};
    value = multiply(normalize(value), ten);
    upper = multiply(upper, ten);
    lower = multiply(lower, ten);
    /* The products may be off by one. */
    upper.frac--;
    lower.frac++;
    *power = -cached;
    return make_digits(upper, upper.frac - lower.frac, upper.frac - value.frac, digits, power);
}

static size_t emit_exponent(char *out, const char *digits, int count, int exponent)
{
    size_t len = 0;
    out[len++] = digits[0];
    if (count > 1) {
        out[len++] = '.';
        memcpy(out + len, digits + 1, (size_t)count - 1);
        len += (size_t)count - 1;
    }
    out[len++] = 'e';
    out[len++] = exponent < 0 ? '-' : '+';
    return len + num_format_u64(out + len, (uint64_t)abs(exponent));
}

/* Point or exponent, by the rules of Redis: 1e+21 but 123000, 0.000001 but 1e-7. */
static size_t emit(char *out, const char *digits, int count, int power)
{
    int exponent = power + count - 1;
    size_t n = (size_t)count;
    if (power >= 0 && abs(exponent) < count + 7) {
        memcpy(out, digits, n);
        memset(out + n, '0', (size_t)power);
        return n + (size_t)power;
    }
    if (power < 0 && (power > -7 || abs(exponent) < 4)) {
        int before = count + power;
        if (before > 0) {
            size_t b = (size_t)before;
            memcpy(out, digits, b);
            out[b] = '.';
            memcpy(out + b + 1, digits + b, n - b);
            return n + 1;
        }
        size_t zeros = (size_t)-before;
        out[0] = '0';
        out[1] = '.';
        memset(out + 2, '0', zeros);
        memcpy(out + 2 + zeros, digits, n);
        return 2 + zeros + n;
    }
    return emit_exponent(out, digits, count, exponent);
}

size_t num_format_double(char out[NUM_DOUBLE_LEN_MAX], double value)
{
    if (isnan(value)) {
        memcpy(out, "nan", 3);
        return 3;
    }
    size_t len = 0;
    /* Half of the range, as Redis: these print all digits, larger ones may have an exponent. */
    const double whole_max = (double)(INT64_MAX / 2);
    if (value >= -whole_max && value <= whole_max && (double)(int64_t)value == value) {
        if (value == 0 && signbit(value)) out[len++] = '-';
        return len + num_format_i64(out + len, (int64_t)value);
    }
    if (signbit(value)) out[len++] = '-';
    if (isinf(value)) {
        memcpy(out + len, "inf", 3);
        return len + 3;
    }
    uint64_t bits;
    char digits[20];
    int power;
    memcpy(&bits, &value, sizeof(bits));
    int count = grisu2(bits, digits, &power);
    return len + emit(out + len, digits, count, power);
}
