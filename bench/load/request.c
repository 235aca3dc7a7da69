/* Requests rendered ahead of time.
 *
 * A request is copied from its shape and the key's number is written over the zeros in it; numbers
 * have a fixed width, so nothing moves:
 *
 *     *2\r\n $3\r\nGET\r\n $16\r\n {tttt}0000000000 \r\n
 *                                    ^tag_at ^digits_at
 *
 * This costs 20–30 ns, far less than any server needs to answer. */
#include "request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int shape_init(struct request_shape *shape, enum verb verb, const struct options *options,
                      const char *key, size_t key_before_digits, size_t tag_in_key)
{
    static const char *const names[VERB_COUNT] = {"GET", "SET", "DEL"};
    char ttl[64] = "";
    char ttl_digits[24];
    size_t key_len = strlen(key);
    int parts = 2;

    if (verb == VERB_SET) {
        parts = 3;
        if (options->ttl_s != 0) {
            parts = 5;
            snprintf(ttl_digits, sizeof ttl_digits, "%llu", (unsigned long long)options->ttl_s);
            snprintf(ttl, sizeof ttl, "$2\r\nEX\r\n$%zu\r\n%s\r\n", strlen(ttl_digits), ttl_digits);
        }
    }
    size_t room = 128 + key_len + options->data_len;
    char *bytes = malloc(room);
    if (bytes == NULL) {
        return -1;
    }
    size_t at =
        (size_t)snprintf(bytes, room, "*%d\r\n$3\r\n%s\r\n$%zu\r\n", parts, names[verb], key_len);
    shape->tag_at = at + tag_in_key;
    shape->digits_at = at + key_before_digits;
    at += (size_t)snprintf(bytes + at, room - at, "%s\r\n", key);
    if (verb == VERB_SET) {
        at += (size_t)snprintf(bytes + at, room - at, "$%u\r\n", options->data_len);
        memset(bytes + at, 'x', options->data_len);
        at += options->data_len;
        at += (size_t)snprintf(bytes + at, room - at, "\r\n%s", ttl);
    }
    shape->bytes = bytes;
    shape->len = at;
    return 0;
}

/* A command of the user's, its words between blanks; "__number__" in one of them becomes twelve
 * digits, the key's index. */
static int shape_of_command(struct request_shape *shape, const char *command, unsigned *digits)
{
    static const char hole[] = "__number__";
    size_t hole_len = sizeof hole - 1, room = 64 + 32 * strlen(command);
    char *bytes = malloc(room);
    char *words = strdup(command), *rest = words;
    size_t at = 0;
    unsigned count = 0;

    if (bytes == NULL || words == NULL) {
        free(bytes);
        free(words);
        return -1;
    }
    *digits = 0;
    for (char *word; (word = strtok_r(rest, " ", &rest)) != NULL; count++) {
        char *number = strstr(word, hole);
        if (number == NULL) {
            at += (size_t)snprintf(bytes + at, room - at, "$%zu\r\n%s\r\n", strlen(word), word);
            continue;
        }
        size_t before = (size_t)(number - word);
        at += (size_t)snprintf(bytes + at, room - at, "$%zu\r\n", strlen(word) - hole_len + 12);
        *digits = 12;
        shape->digits_at = at + before;
        at += (size_t)snprintf(bytes + at, room - at, "%.*s000000000000%s\r\n", (int)before, word,
                               number + hole_len);
    }
    free(words);
    char head[24];
    size_t head_len = (size_t)snprintf(head, sizeof head, "*%u\r\n", count);
    memmove(bytes + head_len, bytes, at);
    memcpy(bytes, head, head_len);
    shape->digits_at += head_len;
    shape->bytes = bytes;
    shape->len = at + head_len;
    return 0;
}

int request_shapes_init(struct request_shapes *shapes, const struct options *options,
                        const char *tag, char (*shard_tags)[SHARD_TAG_LEN], uint64_t range)
{
    memset(shapes, 0, sizeof *shapes);
    if (options->command != NULL) {
        int done = 0;
        for (int verb = 0; verb < VERB_COUNT && done == 0; verb++) {
            done = shape_of_command(&shapes->verb[verb], options->command, &shapes->digits);
        }
        return done;
    }
    char *key = malloc(options->key_len + 1);
    if (key == NULL) {
        return -1;
    }
    const char *braced = shard_tags != NULL ? "0000" : tag;
    size_t before = strlen(options->prefix) + (braced != NULL ? strlen(braced) + 2 : 0);
    size_t digits = options->key_len > before ? options->key_len - before : 0;
    unsigned needed = 1;
    for (uint64_t rest = (range - 1) / 10; rest != 0; rest /= 10) {
        needed++;
    }
    int result = -1;
    if (digits >= needed) {
        snprintf(key, options->key_len + 1, "%s%s%s%s", braced != NULL ? "{" : "",
                 braced != NULL ? braced : "", braced != NULL ? "}" : "", options->prefix);
        memset(key + before, '0', digits);
        key[options->key_len] = '\0';
        shapes->digits = (unsigned)digits;
        shapes->shard_tags = shard_tags;
        result = 0;
        for (int verb = 0; verb < VERB_COUNT && result == 0; verb++) {
            result = shape_init(&shapes->verb[verb], (enum verb)verb, options, key, before, 1);
        }
    }
    free(key);
    return result;
}

void request_shapes_deinit(struct request_shapes *shapes)
{
    for (int verb = 0; verb < VERB_COUNT; verb++) {
        free(shapes->verb[verb].bytes);
    }
}

size_t request_len_max(const struct request_shapes *shapes)
{
    size_t max = 0;
    for (int verb = 0; verb < VERB_COUNT; verb++) {
        max = shapes->verb[verb].len > max ? shapes->verb[verb].len : max;
    }
    return max;
}

size_t request_render(const struct request_shapes *shapes, enum verb verb, unsigned shard,
                      uint64_t index, char *out)
{
    const struct request_shape *shape = &shapes->verb[verb];

    memcpy(out, shape->bytes, shape->len);
    if (shapes->shard_tags != NULL) {
        uint64_t tag = (uint64_t)shard * SHARD_TAG_COUNT + index % SHARD_TAG_COUNT;
        memcpy(out + shape->tag_at, shapes->shard_tags[tag], SHARD_TAG_LEN);
    }
    if (shapes->digits == 0) {
        return shape->len;
    }
    char *digit = out + shape->digits_at + shapes->digits;
    for (uint32_t rest = (uint32_t)index; rest != 0; rest /= 10) {
        *--digit = (char)('0' + rest % 10);
    }
    return shape->len;
}
