/* Libraries and sets of them: plain data, made once and then only read.
 *
 *   hub ──▶ set v7 ──▶ library a      a change makes a new set, which shares what has not changed
 *           set v8 ──▶ library a, b
 *
 * So whoever has a set sees one state of all libraries for as long as it likes, and a change is the
 * exchange of one pointer. A set has its libraries and all their functions sorted by name, which
 * also shows what is there twice.
 * Thread: as the face says. */
#include "splitring/script/library.h"

#include <stdlib.h>

#include "library_impl.h"
#include "splitring/base/mem.h"
#include "splitring/resp/words.h"

/* ---- the first line ---- */

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
bool library_refuse(struct buf *error, enum error_id id, struct slice what)
{
    int len = what.len > 4096 ? 4096 : (int)what.len;
    buf_printf(error, error_text(id), len, what.ptr ? what.ptr : "");
    return false;
}
#pragma GCC diagnostic pop

static bool is_name(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_';
        if (!good) return false;
    }
    return name.len > 0;
}

/* words[0] is "#!engine", the others are "name=…", once. */
static bool take_words(const struct arg *words, int count, struct library_head *head,
                       struct buf *error)
{
    static const char prefix[] = "name=";
    bool named = false;
    for (int i = 1; i < count; i++) {
        struct slice word = slice_of(words[i].ptr, words[i].len);
        size_t len = sizeof(prefix) - 1;
        if (word.len < len || !slice_is_word(slice_of(word.ptr, len), prefix)) {
            return library_refuse(error, ERR_FUNCTION_METADATA_VALUE, word);
        }
        if (named) return library_refuse(error, ERR_FUNCTION_NAME_TWICE, SLICE(""));
        named = true;
        head->name = slice_of(word.ptr + len, word.len - len);
    }
    if (!named) return library_refuse(error, ERR_FUNCTION_NO_NAME, SLICE(""));
    if (!is_name(head->name)) return library_refuse(error, ERR_FUNCTION_BAD_NAME, SLICE(""));
    struct slice engine = slice_of(words[0].ptr + 2, words[0].len - 2);
    if (!slice_is_word(engine, "lua")) return library_refuse(error, ERR_FUNCTION_NO_ENGINE, engine);
    return true;
}

bool library_head_parse(struct slice text, struct library_head *head, struct buf *error)
{
    *head = (struct library_head){0};
    if (text.len < 2 || memcmp(text.ptr, "#!", 2) != 0) {
        return library_refuse(error, ERR_FUNCTION_NO_METADATA, SLICE(""));
    }
    const char *end = memchr(text.ptr, '\n', text.len);
    if (!end || memchr(text.ptr, '\0', (size_t)(end - text.ptr))) {
        return library_refuse(error, ERR_FUNCTION_BAD_METADATA, SLICE(""));
    }
    head->body = (size_t)(end - text.ptr);
    struct slice line = slice_of(text.ptr, head->body);
    head->room = mem_try_alloc(line.len);
    struct arg *words = mem_try_alloc((size_t)inline_argc_max(line) * sizeof(*words));
    bool good = head->room && words;
    if (good) {
        memcpy(head->room, line.ptr, line.len);
        int count = inline_split_quoted(head->room, line.len, words);
        good = count > 0 ? take_words(words, count, head, error)
                         : library_refuse(error, ERR_FUNCTION_BAD_METADATA, SLICE(""));
    } else {
        library_refuse(error, ERR_NO_MEMORY, SLICE(""));
    }
    mem_free(words);
    if (!good) library_head_deinit(head);
    return good;
}

void library_head_deinit(struct library_head *head)
{
    mem_free(head->room);
    head->room = NULL;
}

bool library_name_ok(struct slice name) { return is_name(name); }

/* ---- flags ---- */

static const char *const flag_names[] = {"no-writes", "allow-oom", "allow-stale", "no-cluster",
                                         "allow-cross-slot-keys"}; /* by bit */

uint32_t library_flag(struct slice name)
{
    for (unsigned i = 0; i < ARRAY_COUNT(flag_names); i++) {
        if (slice_is_word(name, flag_names[i])) return 1u << i;
    }
    return 0;
}

const char *library_flag_name(unsigned bit)
{
    return bit < ARRAY_COUNT(flag_names) ? flag_names[bit] : NULL;
}

/* ---- references ---- */

void library_unref(struct library *library)
{
    if (library && --library->refs == 0) mem_free(library);
}

static void set_free(struct library_set *set)
{
    mem_free(set->items);
    mem_free(set->entries);
    mem_free(set);
}

void library_set_unref(struct library_set *set)
{
    if (!set || --set->refs > 0) return;
    for (size_t i = 0; i < set->count; i++) library_unref(set->items[i]);
    set_free(set);
}

/* ---- sets ---- */

static int by_name(const void *a, const void *b)
{
    const struct library *x = *(struct library *const *)a, *y = *(struct library *const *)b;
    return slice_compare(x->name, y->name);
}

static unsigned lower(char c) { return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c); }

static int compare_any_case(struct slice a, struct slice b)
{
    for (size_t i = 0; i < a.len && i < b.len; i++) {
        unsigned x = lower(a.ptr[i]), y = lower(b.ptr[i]);
        if (x != y) return x < y ? -1 : 1;
    }
    return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

static int by_function(const void *a, const void *b)
{
    const struct library_entry *x = a, *y = b;
    int order = compare_any_case(x->function->name, y->function->name);
    return order ? order : x->order < y->order ? -1 : x->order > y->order;
}

static int by_called_name(const void *key, const void *entry)
{
    const struct library_entry *e = entry;
    return compare_any_case(*(const struct slice *)key, e->function->name);
}

/* Room for these libraries and all their functions, in the order they are given. */
static struct library_set *set_of(struct library *const *items, size_t count)
{
    size_t functions = 0;
    struct library_set *set = mem_try_zalloc(sizeof(*set));
    for (size_t i = 0; i < count; i++) functions += items[i]->function_count;
    if (!set) return NULL;
    set->refs = 1;
    set->items = mem_try_alloc((count + 1) * sizeof(struct library *));
    set->entries = mem_try_alloc((functions + 1) * sizeof(*set->entries));
    if (!set->items || !set->entries) {
        set_free(set);
        return NULL;
    }
    for (; set->count < count; set->count++) {
        struct library *library = set->items[set->count] = items[set->count];
        for (size_t f = 0; f < library->function_count; f++) {
            set->entries[set->entry_count] =
                (struct library_entry){&library->functions[f], library, set->entry_count};
            set->entry_count++;
        }
    }
    set->function_count = set->entry_count;
    return set;
}

/* Sorts, and looks for names that are there twice. */
static bool settle(struct library_set *set, struct buf *error)
{
    qsort(set->items, set->count, sizeof(set->items[0]), by_name);
    qsort(set->entries, set->entry_count, sizeof(*set->entries), by_function);
    for (size_t i = 1; i < set->count; i++) {
        struct slice name = set->items[i]->name;
        if (slice_equal(set->items[i - 1]->name, name)) {
            return library_refuse(error, ERR_FUNCTION_LIBRARY_EXISTS, name);
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < set->entry_count; i++) {
        const struct library_entry *entry = &set->entries[i];
        const struct library_entry *last = kept ? &set->entries[kept - 1] : NULL;
        bool same = last && by_called_name(&last->function->name, entry) == 0;
        if (!same) set->entries[kept++] = *entry;
        else if (last->library != entry->library) {
            return library_refuse(error, ERR_FUNCTION_EXISTS, last->function->name);
        }
    }
    set->entry_count = kept;
    return true;
}

struct library_set *library_set_new(struct library *const *items, size_t count, struct buf *error)
{
    struct library_set *set = set_of(items, count);
    if (!set) {
        library_refuse(error, ERR_NO_MEMORY, SLICE(""));
        return NULL;
    }
    if (settle(set, error)) return set;
    set_free(set);
    return NULL;
}

const struct library *library_set_find(const struct library_set *set, struct slice name)
{
    struct library wanted = {.name = name}, *key = &wanted;
    struct library **found =
        bsearch(&key, set->items, set->count, sizeof(set->items[0]), by_name);
    return found ? *found : NULL;
}

ptrdiff_t library_set_function(const struct library_set *set, struct slice name)
{
    const struct library_entry *found =
        bsearch(&name, set->entries, set->entry_count, sizeof(*set->entries), by_called_name);
    return found ? found - set->entries : -1;
}

/* A set of libraries that are in use elsewhere, too. items is freed. */
static struct library_set *share(struct library **items, size_t count, struct buf *error)
{
    struct library_set *set = library_set_new(items, count, error);
    for (size_t i = 0; set && i < count; i++) items[i]->refs++;
    mem_free(items);
    return set;
}

struct library_set *library_set_join(const struct library_set *set, const struct library_set *more,
                                     bool replace, struct buf *error)
{
    size_t count = 0;
    struct library **items = mem_try_alloc((set->count + more->count + 1) * sizeof(*items));
    if (!items) {
        library_refuse(error, ERR_NO_MEMORY, SLICE(""));
        return NULL;
    }
    for (size_t i = 0; i < more->count; i++) {
        struct slice name = more->items[i]->name;
        if (!replace && library_set_find(set, name)) {
            library_refuse(error, ERR_FUNCTION_LIBRARY_COLLIDES, name);
            mem_free(items);
            return NULL;
        }
        items[count++] = more->items[i];
    }
    for (size_t i = 0; i < set->count; i++) {
        if (!library_set_find(more, set->items[i]->name)) items[count++] = set->items[i];
    }
    return share(items, count, error);
}

struct library_set *library_set_without(const struct library_set *set, struct slice name)
{
    struct buf error = {0};
    size_t count = 0;
    struct library **items = mem_try_alloc((set->count + 1) * sizeof(*items));
    for (size_t i = 0; items && i < set->count; i++) {
        if (!slice_equal(set->items[i]->name, name)) items[count++] = set->items[i];
    }
    struct library_set *made = items ? share(items, count, &error) : NULL;
    buf_deinit(&error);
    return made;
}
