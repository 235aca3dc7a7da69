/* The reply counter: a state machine over single bytes, with a short cut for whole bulk strings.
 *
 * A load generator needs no values, only to know how many replies have come, how many of them were
 * errors or nulls. One counter, `need`, replaces a stack: an array of n elements takes the place of
 * one element and brings n, so the reply ends when the count is back at zero, at whatever depth.
 *
 *     state TYPE     the next byte says what comes
 *           LINE     up to LF; the text is kept if it is the first error
 *           NUMBER   digits of a length, up to CR
 *           LF       the line feed after the length
 *           SKIP     payload of a bulk string
 *
 * Nothing is buffered: a read may end anywhere. Streamed aggregates ("$?") are not sent by any
 * server measured here and count as a protocol error. */
#include "reply.h"

#include <string.h>

enum { TYPE, LINE, NUMBER, LF, SKIP };

static void element_done(struct reply_parser *parser, struct reply_counts *counts)
{
    parser->state = TYPE;
    if (--parser->need == 0) {
        counts->replies += !parser->push;
        parser->push = false;
        parser->inside = false;
    }
}

static void null_done(struct reply_parser *parser, struct reply_counts *counts)
{
    counts->nulls += !parser->inside;
    element_done(parser, counts);
}

/* The length of a bulk or an aggregate is complete. */
static void length_done(struct reply_parser *parser, struct reply_counts *counts)
{
    uint64_t number = parser->number;

    if (parser->negative) {
        null_done(parser, counts);
        return;
    }
    switch (parser->type) {
    case '!':
        counts->errors++;
        /* fall through */
    case '$':
    case '=':
        parser->skip = number + 2;
        parser->state = SKIP;
        return;
    case '%': number *= 2; break;
    case '|': /* attributes stand before the element they describe */
        parser->need += 2 * number;
        parser->state = TYPE;
        return;
    case '>': parser->push = parser->push || !parser->inside; break;
    default: break;
    }
    parser->inside = true;
    parser->need += number;
    element_done(parser, counts);
}

static int type_read(struct reply_parser *parser, char type, struct reply_counts *counts)
{
    parser->need += parser->need == 0;
    parser->type = type;
    parser->number = 0;
    parser->negative = false;
    switch (type) {
    case '-':
        counts->errors++;
        /* fall through */
    case '+':
    case ':':
    case '_':
    case '#':
    case ',':
    case '(': parser->state = LINE; return 0;
    case '$':
    case '*':
    case '=':
    case '!':
    case '%':
    case '~':
    case '>':
    case '|': parser->state = NUMBER; return 0;
    default: return -1;
    }
}

/* Takes the line's bytes from data and returns how many they are. */
static size_t line_read(struct reply_parser *parser, const char *data, size_t len,
                        struct reply_counts *counts)
{
    const char *end = memchr(data, '\n', len);
    size_t taken = end == NULL ? len : (size_t)(end - data) + 1;

    if (parser->type == '-' && counts->errors == 1) {
        size_t room = sizeof counts->error - 1 - counts->error_len;
        size_t text = end == NULL ? len : (size_t)(end - data);
        text = text < room ? text : room;
        memcpy(counts->error + counts->error_len, data, text);
        counts->error_len += (unsigned)text;
        while (counts->error_len > 0 && counts->error[counts->error_len - 1] == '\r') {
            counts->error[--counts->error_len] = '\0';
        }
    }
    if (end != NULL) {
        if (parser->type == '_') {
            null_done(parser, counts);
        } else {
            element_done(parser, counts);
        }
    }
    return taken;
}

static int number_read(struct reply_parser *parser, char c)
{
    if (c >= '0' && c <= '9' && parser->number < UINT64_MAX / 100) {
        parser->number = parser->number * 10 + (uint64_t)(c - '0');
    } else if (c == '-') {
        parser->negative = true;
    } else if (c == '\r') {
        parser->state = LF;
    } else {
        return -1;
    }
    return 0;
}

/* A whole "$<1 to 3 digits>\r\n<payload>\r\n" between replies: nearly all that a GET load sees.
 * Returns its size, 0 if it must go the long way. */
static size_t short_bulk_len(const char *data, size_t len)
{
    if (len < 8 || data[0] != '$') {
        return 0;
    }
    size_t number = 0;
    size_t i = 1;
    while (i < 4 && data[i] >= '0' && data[i] <= '9') {
        number = number * 10 + (size_t)(data[i] - '0');
        i++;
    }
    size_t whole = i + 2 + number + 2;
    return i > 1 && data[i] == '\r' && whole <= len ? whole : 0;
}

int reply_parse(struct reply_parser *parser, const char *data, size_t len,
                struct reply_counts *counts)
{
    size_t at = 0;

    while (at < len) {
        switch (parser->state) {
        case TYPE:
            if (parser->need == 0) {
                size_t whole = short_bulk_len(data + at, len - at);
                if (whole != 0) {
                    counts->replies++;
                    at += whole;
                    break;
                }
            }
            if (type_read(parser, data[at++], counts) != 0) {
                return -1;
            }
            break;
        case LINE: at += line_read(parser, data + at, len - at, counts); break;
        case NUMBER:
            if (number_read(parser, data[at++]) != 0) {
                return -1;
            }
            break;
        case LF:
            if (data[at++] != '\n') {
                return -1;
            }
            length_done(parser, counts);
            break;
        default: {
            size_t taken = len - at < parser->skip ? len - at : (size_t)parser->skip;
            parser->skip -= taken;
            at += taken;
            if (parser->skip == 0) {
                element_done(parser, counts);
            }
            break;
        }
        }
    }
    return 0;
}
