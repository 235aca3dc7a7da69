/* Small sorted sets: a listpack of pairs in order.
 *
 *   member | score | member | score | …      scores: integers as such, else the shortest text
 *
 * These are the bytes of Redis, so DUMP copies them. Everything is a walk from one end; at most
 * zset-max-listpack-entries pairs make that cheaper than any index.
 * Thread: holder of the shard. */
#include "splitring/base/num.h"
#include "zset.h"

double zpacked_score(const char *bytes, size_t member)
{
    struct lp_value v = lp_get(bytes, lp_next(bytes, member));
    double score = 0;
    if (!v.text.ptr) return (double)v.number;
    bool ok = num_parse_double(v.text, &score);
    dcheck(ok);
    (void)ok;
    return score;
}

void zpacked_item(const char *bytes, size_t member, struct zset_item *item)
{
    item->text = lp_text(bytes, member, item->scratch);
    item->score = zpacked_score(bytes, member);
}

size_t zpacked_step(const char *bytes, size_t member, bool back)
{
    if (!back) return lp_next(bytes, lp_next(bytes, member));
    size_t score = lp_prev(bytes, member);
    return score == LP_NONE ? LP_NONE : lp_prev(bytes, score);
}

size_t zpacked_place(const char *bytes, double score, struct slice text)
{
    struct zset_item item;
    for (size_t at = lp_first(bytes); at != LP_NONE; at = zpacked_step(bytes, at, false)) {
        item.score = zpacked_score(bytes, at);
        if (item.score < score) continue;
        if (item.score > score) return at;
        if (slice_compare(lp_text(bytes, at, item.scratch), text) > 0) return at;
    }
    return LP_NONE;
}

struct zset_ranks zpacked_by_score(const char *bytes, const struct zset_score_range *range)
{
    struct zset_ranks ranks = {0, 0};
    for (size_t at = lp_first(bytes); at != LP_NONE; at = zpacked_step(bytes, at, false)) {
        double score = zpacked_score(bytes, at);
        if (range->max_ex ? score >= range->max : score > range->max) break;
        ranks.end++;
        if (range->min_ex ? score <= range->min : score < range->min) ranks.begin++;
    }
    return ranks;
}

static bool lex_range_empty(const struct zset_lex_range *range)
{
    if (range->min.kind == ZSET_LEX_MAX || range->max.kind == ZSET_LEX_MIN) return true;
    if (range->min.kind == ZSET_LEX_MIN || range->max.kind == ZSET_LEX_MAX) return false;
    int order = slice_compare(range->min.text, range->max.text);
    return order > 0 || (order == 0 && (range->min.ex || range->max.ex));
}

struct zset_ranks zpacked_by_lex(const char *bytes, const struct zset_lex_range *range,
                                 bool reverse)
{
    char scratch[LP_NUMBER_LEN];
    uint64_t count = lp_count(bytes) / 2, begin = 0, end = 0;
    if (count == 0 || lex_range_empty(range)) return (struct zset_ranks){0, 0};
    if (!lex_from_min(range, lp_text(bytes, lp_seek(bytes, -2), scratch)) ||
        !lex_to_max(range, lp_text(bytes, lp_first(bytes), scratch)))
        return (struct zset_ranks){0, 0};
    if (!reverse) {
        size_t at = lp_first(bytes);
        for (; at != LP_NONE; at = zpacked_step(bytes, at, false), begin++) {
            if (lex_from_min(range, lp_text(bytes, at, scratch))) break;
        }
        for (end = begin; at != LP_NONE; at = zpacked_step(bytes, at, false), end++) {
            if (!lex_to_max(range, lp_text(bytes, at, scratch))) break;
        }
        return (struct zset_ranks){begin, end};
    }
    size_t at = lp_seek(bytes, -2);
    for (end = count; at != LP_NONE; at = zpacked_step(bytes, at, true), end--) {
        if (lex_to_max(range, lp_text(bytes, at, scratch))) break;
    }
    for (begin = end; at != LP_NONE; at = zpacked_step(bytes, at, true), begin--) {
        if (!lex_from_min(range, lp_text(bytes, at, scratch))) break;
    }
    return (struct zset_ranks){begin, end};
}

struct slice zpacked_text(char out[NUM_DOUBLE_LEN_MAX], double score)
{
    if (ordered_equal_score(score, 0)) score = 0; /* never "-0": Redis stores an integer */
    return slice_of(out, num_format_double(out, score));
}
