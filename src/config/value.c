/* Values: reading a directive's arguments into a field and writing a field as text.
 *
 * The default is kept in the table as text too, so a struct config is filled by the same code that
 * CONFIG SET uses, and "is it the default?" is a comparison of texts. Every reader checks all of
 * its arguments first and stores last: a refused value leaves the field as it was. Error texts are
 * those of Redis 7; clients and test suites compare them.
 *
 * Thread: any; the field belongs to the caller. */
#include <stdio.h>

#include "directive.h"
#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"

#define BIND_MAX 16u

char *value_text(struct slice text)
{
    char *copy = mem_alloc(text.len + 1);
    if (text.len) memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    return copy;
}

static bool wrong(struct buf *why, const char *text)
{
    buf_append_slice(why, slice_str(text));
    return false;
}

/* ---- numbers ---- */

static int64_t load_number(const void *field, size_t width)
{
    if (width == sizeof(int)) {
        int number;
        memcpy(&number, field, sizeof number);
        return number;
    }
    int64_t number;
    memcpy(&number, field, sizeof number);
    return number;
}

static void store_number(void *field, size_t width, int64_t value)
{
    if (width == sizeof(int)) {
        int number = (int)value;
        memcpy(field, &number, sizeof number);
    } else {
        memcpy(field, &value, sizeof value);
    }
}

static bool parse_octal(struct slice text, int64_t *out)
{
    int64_t number = 0;
    if (text.len == 0 || text.len > 20) return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '7') return false;
        number = number * 8 + (text.ptr[i] - '0');
    }
    *out = number;
    return true;
}

static bool parse_memory(struct slice text, int64_t *out)
{
    uint64_t number = 0;
    if (text.len && !num_parse_memory(text, &number)) return false; /* "" is 0, as in Redis */
    *out = number > INT64_MAX ? INT64_MAX : (int64_t)number;
    return true;
}

/* The number alone, without its limits. */
static bool read_number(const struct directive *d, struct slice text, int64_t *out, struct buf *why)
{
    switch (d->type) {
    case DIRECTIVE_MEMORY:
        return parse_memory(text, out) || wrong(why, "argument must be a memory value");
    case DIRECTIVE_SHARE:
    case DIRECTIVE_PERCENT:
        if (text.len > 1 && text.ptr[text.len - 1] == '%') {
            struct slice digits = slice_of(text.ptr, text.len - 1);
            bool good = num_parse_i64(digits, out) && *out >= 0;
            *out = -*out;
            if (good && (d->type == DIRECTIVE_PERCENT || *out >= d->min)) return true;
        } else if (parse_memory(text, out)) {
            return true;
        }
        return wrong(why, d->type == DIRECTIVE_SHARE
                              ? "argument must be a memory value"
                              : "argument must be a memory or percent value");
    case DIRECTIVE_OCTAL:
        return parse_octal(text, out) ||
               wrong(why, "argument couldn't be parsed as an octal number");
    case DIRECTIVE_AUTO:
        *out = 0;
        if (slice_is_word(text, "auto")) return true;
        return num_parse_i64(text, out) || wrong(why, "argument must be 'auto' or a number");
    default:
        return num_parse_i64(text, out) ||
               wrong(why, "argument couldn't be parsed into an integer");
    }
}

static bool parse_number(const struct directive *d, struct slice text, int64_t *out,
                         struct buf *why)
{
    if (!read_number(d, text, out, why)) return false;
    if (d->type == DIRECTIVE_AUTO && slice_is_word(text, "auto")) return true;
    if (d->type == DIRECTIVE_SHARE && *out < 0) return true;
    if (d->type == DIRECTIVE_PERCENT && *out < 0) {
        if (*out >= d->min) return true;
        buf_printf(why, "percentage argument must be less or equal to %lld", (long long)-d->min);
        return false;
    }
    if (*out >= d->min && *out <= d->max) return true;
    const char *format = d->type == DIRECTIVE_OCTAL
                             ? "argument must be between %llo and %llo inclusive"
                             : "argument must be between %lld and %lld inclusive";
    char text_out[128];
    int len = snprintf(text_out, sizeof text_out, format, (long long)d->min, (long long)d->max);
    buf_append(why, text_out, (size_t)len);
    return false;
}

static void format_number(const struct directive *d, int64_t number, struct buf *out)
{
    if (d->type == DIRECTIVE_OCTAL) buf_printf(out, "%llo", (unsigned long long)number);
    else if ((d->type == DIRECTIVE_PERCENT || d->type == DIRECTIVE_SHARE) && number < 0)
        buf_printf(out, "%lld%%", (long long)-number);
    else if (d->type == DIRECTIVE_AUTO && number == 0) buf_append_slice(out, SLICE("auto"));
    else buf_printf(out, "%lld", (long long)number);
}

/* ---- words of a list ---- */

static bool parse_enum(const struct directive *d, struct slice text, int64_t *out, struct buf *why)
{
    for (const struct directive_word *w = d->words; w->name; w++) {
        if (!slice_is_word(text, w->name)) continue;
        *out = w->value;
        return true;
    }
    buf_append_slice(why, SLICE("argument(s) must be one of the following: "));
    for (const struct directive_word *w = d->words; w->name; w++)
        buf_printf(why, "%s%s", w == d->words ? "" : ", ", w->name);
    return false;
}

static bool parse_flags(const struct directive *d, const struct slice *args, size_t count,
                        int64_t *out, struct buf *why)
{
    int64_t set = 0;
    if (count == 0) return parse_enum(d, SLICE(""), out, why); /* says which words there are */
    for (size_t i = 0; i < count; i++) {
        int64_t flag;
        if (!parse_enum(d, args[i], &flag, why)) return false;
        set |= flag;
    }
    if ((set & CONFIG_SHUTDOWN_SAVE) && (set & CONFIG_SHUTDOWN_NOSAVE))
        return wrong(why, "shutdown options SAVE and NOSAVE can't be used simultaneously");
    *out = set;
    return true;
}

static void format_words(const struct directive *d, int64_t value, struct buf *out)
{
    size_t before = out->len;
    for (const struct directive_word *w = d->words; w->name; w++) {
        bool match = d->type == DIRECTIVE_FLAGS ? (value & w->value) != 0 : value == w->value;
        if (!match) continue;
        buf_printf(out, "%s%s", out->len > before ? " " : "", w->name);
        if (d->type == DIRECTIVE_ENUM) return;
    }
    if (out->len == before) buf_append_slice(out, slice_str(d->words[0].name));
}

/* ---- letters of notify-keyspace-events ---- */

static const struct {
    char letter;
    unsigned event;
} event_letters[] = {
    {'g', CONFIG_EVENT_GENERIC},  {'$', CONFIG_EVENT_STRING},  {'l', CONFIG_EVENT_LIST},
    {'s', CONFIG_EVENT_SET},      {'h', CONFIG_EVENT_HASH},    {'z', CONFIG_EVENT_ZSET},
    {'x', CONFIG_EVENT_EXPIRED},  {'e', CONFIG_EVENT_EVICTED}, {'t', CONFIG_EVENT_STREAM},
    {'d', CONFIG_EVENT_MODULE},   {'n', CONFIG_EVENT_NEW},     {'K', CONFIG_EVENT_KEYSPACE},
    {'E', CONFIG_EVENT_KEYEVENT}, {'m', CONFIG_EVENT_MISS},
};

static bool parse_events(struct slice text, int64_t *out, struct buf *why)
{
    unsigned events = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned event = text.ptr[i] == 'A' ? CONFIG_EVENT_ALL : 0;
        for (size_t j = 0; j < ARRAY_COUNT(event_letters); j++)
            if (event_letters[j].letter == text.ptr[i]) event = event_letters[j].event;
        if (event == 0) return wrong(why, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
        events |= event;
    }
    *out = events;
    return true;
}

/* Redis leaves `n` out beside A, and so loses it in CONFIG REWRITE; we show it. */
static void format_events(int64_t value, struct buf *out)
{
    unsigned events = (unsigned)value;
    if ((events & CONFIG_EVENT_ALL) == CONFIG_EVENT_ALL) {
        buf_append_char(out, 'A');
        events &= ~(unsigned)CONFIG_EVENT_ALL;
    }
    for (size_t j = 0; j < ARRAY_COUNT(event_letters); j++)
        if (events & event_letters[j].event) buf_append_char(out, event_letters[j].letter);
}

/* ---- lists ---- */

static void words_free(struct config_words *words)
{
    for (size_t i = 0; i < words->count; i++) mem_free(words->words[i]);
    mem_free(words->words);
    *words = (struct config_words){0};
}

static bool parse_bind(struct config_words *field, const struct slice *args, size_t count,
                       struct buf *why)
{
    if (count > BIND_MAX) return wrong(why, "Too many bind addresses specified.");
    if (count == 1 && args[0].len == 0) count = 0; /* bind "": no address */
    struct config_words words = {.count = count};
    if (count) words.words = mem_alloc(count * sizeof *words.words);
    for (size_t i = 0; i < count; i++) words.words[i] = value_text(args[i]);
    words_free(field);
    *field = words;
    return true;
}

static bool parse_rename(struct config_words *field, const struct slice *args, size_t count,
                         struct buf *why)
{
    if (count != 2) return wrong(why, "Bad directive or wrong number of arguments");
    field->words = mem_realloc(field->words, (field->count + 2) * sizeof *field->words);
    for (size_t i = 0; i < 2; i++) field->words[field->count++] = value_text(args[i]);
    return true;
}

/* A name, its rules, and "" behind them; rules that are empty mean nothing and are left out. */
static bool parse_user(struct config_words *field, const struct slice *args, size_t count,
                       struct buf *why)
{
    bool begins = true;
    if (count == 0 || args[0].len == 0)
        return wrong(why, "Bad directive or wrong number of arguments");
    for (size_t i = 0; i < field->count; i++) {
        if (begins && slice_equal(slice_str(field->words[i]), args[0]))
            return wrong(why, "Duplicate user found. A user can only be defined once in config "
                              "files");
        begins = field->words[i][0] == '\0';
    }
    field->words = mem_realloc(field->words, (field->count + count + 1) * sizeof *field->words);
    for (size_t i = 0; i < count; i++)
        if (args[i].len) field->words[field->count++] = value_text(args[i]);
    field->words[field->count++] = value_text(SLICE(""));
    return true;
}

static void format_list(const struct config_words *words, struct buf *out)
{
    for (size_t i = 0; i < words->count; i++)
        buf_printf(out, "%s%s", i ? " " : "", words->words[i]);
}

static bool parse_save(struct config_save *field, const struct slice *args, size_t count, bool more,
                       struct buf *why)
{
    if (count == 1 && args[0].len == 0) { /* save "": no save points, whatever came before */
        count = 0;
        more = false;
    }
    size_t kept = more ? field->count : 0;
    bool fine = count % 2 == 0;
    for (size_t i = 0; fine && i < count; i++) {
        int64_t number;
        fine = num_parse_i64(args[i], &number) && number >= (i % 2 == 0) && number <= INT32_MAX;
    }
    if (!fine) return wrong(why, "Invalid save parameters");
    struct config_save save = {.count = kept + count / 2};
    if (save.count) save.points = mem_alloc(save.count * sizeof *save.points);
    if (kept) memcpy(save.points, field->points, kept * sizeof *save.points);
    for (size_t i = 0; i < count; i += 2) {
        struct config_save_point *point = &save.points[kept + i / 2];
        check(num_parse_i64(args[i], &point->period_s));
        check(num_parse_i64(args[i + 1], &point->changes));
    }
    mem_free(field->points);
    *field = save;
    return true;
}

static bool parse_percentiles(struct config_percentiles *field, const struct slice *args,
                              size_t count, struct buf *why)
{
    if (count == 1 && args[0].len == 0) count = 0;
    struct config_percentiles list = {.count = count};
    if (count) list.values = mem_alloc(count * sizeof *list.values);
    const char *mistake = NULL;
    for (size_t i = 0; i < count && !mistake; i++) {
        if (!num_parse_double(args[i], &list.values[i]))
            mistake = "Invalid latency-tracking-info-percentiles parameters";
        else if (!(list.values[i] >= 0.0 && list.values[i] <= 100.0))
            mistake = "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";
    }
    if (mistake) {
        mem_free(list.values);
        return wrong(why, mistake);
    }
    mem_free(field->values);
    *field = list;
    return true;
}

static void format_percentiles(const struct config_percentiles *list, struct buf *out)
{
    for (size_t i = 0; i < list->count; i++) {
        char text[64];
        int len = snprintf(text, sizeof text, "%f", list->values[i]);
        while (len > 1 && text[len - 1] == '0') len--;
        if (text[len - 1] == '.') len--;
        if (i) buf_append_char(out, ' ');
        buf_append(out, text, (size_t)len);
    }
}

/* ---- client-output-buffer-limit ---- */

static bool parse_limits(struct config_output_limit *field, const struct slice *args, size_t count,
                         struct buf *why)
{
    struct config_output_limit limits[CONFIG_CLIENT_CLASSES];
    memcpy(limits, field, sizeof limits);
    if (count % 4) return wrong(why, "Wrong number of arguments in buffer limit configuration.");
    for (size_t i = 0; i < count; i += 4) {
        enum config_client_class class = CONFIG_CLIENT_NORMAL;
        if (slice_is_word(args[i], "replica") || slice_is_word(args[i], "slave"))
            class = CONFIG_CLIENT_REPLICA;
        else if (slice_is_word(args[i], "pubsub")) class = CONFIG_CLIENT_PUBSUB;
        else if (!slice_is_word(args[i], "normal"))
            return wrong(why, "Invalid client class specified in buffer limit configuration.");
        struct config_output_limit *limit = &limits[class];
        if (!parse_memory(args[i + 1], &limit->hard_bytes) ||
            !parse_memory(args[i + 2], &limit->soft_bytes) ||
            !num_parse_i64(args[i + 3], &limit->soft_s) || limit->soft_s < 0)
            return wrong(why, "Error in hard, soft or soft_seconds setting in buffer limit "
                              "configuration.");
    }
    memcpy(field, limits, sizeof limits);
    return true;
}

static void format_limits(const struct config_output_limit *limits, struct buf *out)
{
    static const char *const names[CONFIG_CLIENT_CLASSES] = {"normal", "slave", "pubsub"};
    for (size_t i = 0; i < CONFIG_CLIENT_CLASSES; i++)
        buf_printf(out, "%s%s %lld %lld %lld", i ? " " : "", names[i],
                   (long long)limits[i].hard_bytes, (long long)limits[i].soft_bytes,
                   (long long)limits[i].soft_s);
}

/* ---- values kept as text ---- */

static bool store_text(char **field, struct slice text)
{
    char *copy = value_text(text);
    mem_free(*field);
    *field = copy;
    return true;
}

static bool parse_string(const struct directive *d, char **field, struct slice text,
                         struct buf *why)
{
    if (text.len && memchr(text.ptr, 0, text.len))
        return wrong(why, "argument must not contain a zero byte");
    const char *objection = d->objection ? d->objection(text) : NULL;
    return objection ? wrong(why, objection) : store_text(field, text);
}

static bool parse_oom_values(char **field, const struct slice *args, size_t count, struct buf *why)
{
    int64_t values[3];
    if (count != ARRAY_COUNT(values)) return wrong(why, "wrong number of arguments");
    for (size_t i = 0; i < count; i++)
        if (!num_parse_i64(args[i], &values[i]) || values[i] < -2000 || values[i] > 2000)
            return wrong(why, "Invalid oom-score-adj-values, elements must be between -2000 and "
                              "2000.");
    char text[64];
    int len =
        snprintf(text, sizeof text, "%d %d %d", (int)values[0], (int)values[1], (int)values[2]);
    return store_text(field, slice_of(text, (size_t)len));
}

static bool parse_replicaof(char **field, const struct slice *args, size_t count, struct buf *why)
{
    int64_t port;
    if (count != 2) return wrong(why, "wrong number of arguments");
    if (slice_is_word(args[0], "no") && slice_is_word(args[1], "one"))
        return store_text(field, SLICE(""));
    if (!num_parse_i64(args[1], &port) || port < 0 || port > 65535)
        return wrong(why, "Invalid master port");
    struct buf text = {0};
    buf_append_slice(&text, args[0]);
    buf_printf(&text, " %d", (int)port);
    bool done = parse_string(&(struct directive){0}, field, buf_slice(&text), why);
    buf_deinit(&text);
    return done;
}

/* ---- all of them ---- */

static bool parse_multi(const struct directive *d, void *field, size_t width,
                        const struct slice *args, size_t count, bool more, struct buf *why)
{
    int64_t number;
    switch (d->type) {
    case DIRECTIVE_FLAGS:
        if (!parse_flags(d, args, count, &number, why)) return false;
        store_number(field, width, number);
        return true;
    case DIRECTIVE_BIND: return parse_bind(field, args, count, why);
    case DIRECTIVE_SAVE: return parse_save(field, args, count, more, why);
    case DIRECTIVE_LIMITS: return parse_limits(field, args, count, why);
    case DIRECTIVE_PERCENTILES: return parse_percentiles(field, args, count, why);
    case DIRECTIVE_RENAME: return parse_rename(field, args, count, why);
    case DIRECTIVE_USER: return parse_user(field, args, count, why);
    case DIRECTIVE_OOM_VALUES: return parse_oom_values(field, args, count, why);
    case DIRECTIVE_REPLICAOF: return parse_replicaof(field, args, count, why);
    default: return wrong(why, d->why);
    }
}

bool value_parse(const struct directive *d, void *field, size_t width, const struct slice *args,
                 size_t count, bool more, struct buf *why)
{
    if (d->flags & FLAG_MULTI) return parse_multi(d, field, width, args, count, more, why);
    if (count != 1) return wrong(why, "wrong number of arguments");
    int64_t number;
    switch (d->type) {
    case DIRECTIVE_BOOL:
        if (slice_is_word(args[0], "yes")) *(bool *)field = true;
        else if (slice_is_word(args[0], "no")) *(bool *)field = false;
        else return wrong(why, "argument must be 'yes' or 'no'");
        return true;
    case DIRECTIVE_STRING: return parse_string(d, field, args[0], why);
    case DIRECTIVE_ENUM:
        if (!parse_enum(d, args[0], &number, why)) return false;
        break;
    case DIRECTIVE_EVENTS:
        if (!parse_events(args[0], &number, why)) return false;
        break;
    default:
        if (!parse_number(d, args[0], &number, why)) return false;
    }
    store_number(field, width, number);
    return true;
}

void value_format(const struct directive *d, const void *field, size_t width, struct buf *out)
{
    switch (d->type) {
    case DIRECTIVE_BOOL:
        buf_append_slice(out, *(const bool *)field ? SLICE("yes") : SLICE("no"));
        return;
    case DIRECTIVE_INT:
    case DIRECTIVE_MEMORY:
    case DIRECTIVE_PERCENT:
    case DIRECTIVE_SHARE:
    case DIRECTIVE_OCTAL:
    case DIRECTIVE_AUTO: format_number(d, load_number(field, width), out); return;
    case DIRECTIVE_ENUM:
    case DIRECTIVE_FLAGS: format_words(d, load_number(field, width), out); return;
    case DIRECTIVE_EVENTS: format_events(load_number(field, width), out); return;
    case DIRECTIVE_STRING:
    case DIRECTIVE_OOM_VALUES:
    case DIRECTIVE_REPLICAOF: buf_append_slice(out, slice_str(*(char *const *)field)); return;
    case DIRECTIVE_BIND:
    case DIRECTIVE_RENAME: format_list(field, out); return;
    case DIRECTIVE_LIMITS: format_limits(field, out); return;
    case DIRECTIVE_PERCENTILES: format_percentiles(field, out); return;
    case DIRECTIVE_SAVE: {
        const struct config_save *save = field;
        for (size_t i = 0; i < save->count; i++)
            buf_printf(out, "%s%lld %lld", i ? " " : "", (long long)save->points[i].period_s,
                       (long long)save->points[i].changes);
        return;
    }
    default: return;
    }
}

static void *copy_block(const void *from, size_t len)
{
    if (len == 0) return NULL;
    void *to = mem_alloc(len);
    memcpy(to, from, len);
    return to;
}

void value_copy(const struct directive *d, void *field)
{
    switch (d->type) {
    case DIRECTIVE_STRING:
    case DIRECTIVE_OOM_VALUES:
    case DIRECTIVE_REPLICAOF: {
        char **text = field;
        *text = value_text(slice_str(*text));
        return;
    }
    case DIRECTIVE_BIND:
    case DIRECTIVE_USER:
    case DIRECTIVE_RENAME: {
        struct config_words *words = field;
        words->words = copy_block(words->words, words->count * sizeof *words->words);
        for (size_t i = 0; i < words->count; i++)
            words->words[i] = value_text(slice_str(words->words[i]));
        return;
    }
    case DIRECTIVE_SAVE: {
        struct config_save *save = field;
        save->points = copy_block(save->points, save->count * sizeof *save->points);
        return;
    }
    case DIRECTIVE_PERCENTILES: {
        struct config_percentiles *list = field;
        list->values = copy_block(list->values, list->count * sizeof *list->values);
        return;
    }
    default: return;
    }
}

void value_deinit(const struct directive *d, void *field)
{
    switch (d->type) {
    case DIRECTIVE_STRING:
    case DIRECTIVE_OOM_VALUES:
    case DIRECTIVE_REPLICAOF: mem_free(*(char **)field); return;
    case DIRECTIVE_BIND:
    case DIRECTIVE_USER:
    case DIRECTIVE_RENAME: words_free(field); return;
    case DIRECTIVE_SAVE: mem_free(((struct config_save *)field)->points); return;
    case DIRECTIVE_PERCENTILES: mem_free(((struct config_percentiles *)field)->values); return;
    default: return;
    }
}
