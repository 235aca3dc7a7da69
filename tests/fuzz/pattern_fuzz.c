/* Fuzz target of Lua's patterns. Byte 0 is the pattern's length, byte 1 how many steps are allowed
 * at a time; then the pattern, then the subject. Both are exact blocks, so that a sanitizer sees
 * every byte read outside, and so are the frames. A match taken in small steps must come to the
 * same end as one in a single go, within the subject, captures included. */
#include "pattern.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "splitring/base/check.h"

#define STEPS_MAX 20000u

static enum pattern_result run(struct pattern_match *m, uint64_t at_a_time)
{
    enum pattern_result result = PATTERN_MORE;
    pattern_begin(m, m->subject);
    for (uint64_t spent = 0; result == PATTERN_MORE && spent < STEPS_MAX; spent += at_a_time) {
        m->steps = at_a_time;
        result = pattern_step(m);
    }
    return result;
}

static void look(const struct pattern_match *m)
{
    check(m->at >= m->subject && m->at <= m->subject_end);
    check(m->level <= PATTERN_CAPTURES);
    for (unsigned i = 0; i < m->level; i++) {
        const struct pattern_capture *c = &m->captures[i];
        check(c->at >= m->subject && c->at <= m->subject_end);
        check(c->len >= PATTERN_POSITION && c->len <= m->subject_end - c->at);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2) return 0;
    size_t pattern_len = data[0] < len - 2 ? data[0] : len - 2;
    char *pattern = malloc(pattern_len + 1), *subject = malloc(len - 2 - pattern_len + 1);
    memcpy(pattern, data + 2, pattern_len);
    pattern[pattern_len] = '\0';
    struct slice text = {subject, len - 2 - pattern_len};
    memcpy(subject, data + 2 + pattern_len, text.len);
    size_t count = pattern_frames(pattern);
    struct pattern_frame *frames = malloc(count * sizeof *frames);
    struct pattern_match whole, pieces;
    pattern_init(&whole, text, pattern, frames);
    enum pattern_result result = run(&whole, STEPS_MAX);
    check(whole.frame_count <= count);
    if (result != PATTERN_MORE) {
        pattern_init(&pieces, text, pattern, frames);
        enum pattern_result again = run(&pieces, 1 + data[1]);
        check(again == result || again == PATTERN_MORE);
        if (again == PATTERN_MATCHED) {
            look(&whole);
            look(&pieces);
            check(pieces.at == whole.at && pieces.level == whole.level);
        }
        check((again == PATTERN_ERROR) == (pieces.error != NULL));
    }
    free(frames);
    free(subject);
    free(pattern);
    return 0;
}
