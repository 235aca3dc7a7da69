/* What only a worker itself can tell an onlooker: its slow log, its connections, its hot and big
 * keys.
 *
 *   onlooker: NONE → ASKED, wakes worker 0       worker 0: ASKED → RUNS, a fan-out;
 *   onlooker: looks until TOLD or its time is up           its end: answer, RUNS → TOLD
 *
 * The answer lies in the hub and belongs to whose turn the state says it is. An onlooker that gave
 * up finds the late answer when it asks again, throws it away, and asks anew. Why not a connection
 * of its own, as any client's? It would have to pass AUTH, count as a client, be shown to MONITOR,
 * and could be killed.
 *
 * Each part tells a bounded number of things, whatever there are.
 * Thread: as each function says. */
#include "commandlog.h"
#include "conn.h"
#include "fanout.h"
#include "hotkeys.h"
#include "observe.h"
#include "splitring/base/mem.h"
#include "splitring/base/num.h"
#include "splitring/io/os.h"

#define SLOW_MAX 16u
#define CLIENTS_MAX 32u
#define LOOK_US 300

/* ---- JSON ---- */

/* The length of the UTF-8 sequence at text[at], 0: it is none. */
static size_t sequence_len(struct slice text, size_t at)
{
    const unsigned char *p = (const unsigned char *)text.ptr + at;
    size_t left = text.len - at, len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2
                                     : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (len == 0 || len > left) return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if (len == 3 && ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0))) return 0;
    if (len == 4 && ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))) return 0;
    return len;
}

void json_text(struct buf *out, struct slice text)
{
    buf_append_char(out, '"');
    for (size_t at = 0, len; at < text.len; at += len ? len : 1) {
        unsigned char c = (unsigned char)text.ptr[at];
        len = sequence_len(text, at);
        if (len == 0) buf_append_slice(out, SLICE("\\ufffd"));
        else if (c == '"' || c == '\\') buf_printf(out, "\\%c", c);
        else if (c < ' ' || c == 127) buf_printf(out, "\\u%04x", c);
        else buf_append(out, text.ptr + at, len);
    }
    buf_append_char(out, '"');
}

void json_number(struct buf *out, const char *name, uint64_t value)
{
    buf_printf(out, "\"%s\":%llu,", name, (unsigned long long)value);
}

void json_end(struct buf *out, char bracket)
{
    if (out->len && out->ptr[out->len - 1] == ',') out->len--;
    buf_append_char(out, bracket);
    buf_append_char(out, ',');
}

/* ---- parts. Thread: each worker ---- */

/* The next "$len\r\n…\r\n" of an entry's wire. */
static bool next_bulk(struct slice *wire, struct slice *out)
{
    size_t len = 0, at = 1;
    if (wire->len < 4 || wire->ptr[0] != '$') return false;
    for (; at < wire->len && wire->ptr[at] != '\r'; at++)
        len = len * 10 + (size_t)(wire->ptr[at] - '0');
    if (len > wire->len || at + 4 + len > wire->len) return false;
    *out = slice_of(wire->ptr + at + 2, len);
    *wire = slice_of(out->ptr + len + 2, wire->len - at - 4 - len);
    return true;
}

static void slow_entry(struct buf *out, const struct log_entry *e)
{
    struct slice wire = slice_of(e->wire, e->arguments_len), arg;
    buf_append_char(out, '{');
    json_number(out, "id", e->id);
    json_number(out, "at", (uint64_t)e->time_s);
    json_number(out, "us", e->value);
    json_number(out, "queued", e->queued_us);
    json_number(out, "waited", e->waited_us);
    json_number(out, "worker", e->ran_at);
    json_name(out, "args");
    buf_append_char(out, '[');
    while (wire.len && wire.ptr[0] != '$') wire.ptr++, wire.len--; /* the array's header */
    while (next_bulk(&wire, &arg)) {
        json_text(out, arg);
        buf_append_char(out, ',');
    }
    json_end(out, ']');
    json_end(out, '}');
}

static void tell_slow(struct worker *w, struct buf *out)
{
    const struct list *entries = commandlog_entries(w->commandlog, LOG_SLOW);
    unsigned n = 0;
    json_name(out, "slow");
    buf_append_char(out, '[');
    for (const struct list *l = entries->prev; l != entries && n < SLOW_MAX; l = l->prev, n++)
        slow_entry(out, CONTAINER_OF(l, struct log_entry, link));
    json_end(out, ']');
}

static void client_entry(const struct worker *w, struct buf *out, struct conn *c)
{
    buf_append_char(out, '{');
    json_number(out, "id", c->id);
    json_name(out, "addr");
    json_text(out, slice_str(conn_peer(c)));
    buf_append_char(out, ',');
    json_name(out, "name");
    json_text(out, slice_str(c->name ? c->name : ""));
    buf_append_char(out, ',');
    json_name(out, "cmd");
    json_text(out, slice_str(c->last_cmd ? c->last_cmd->name : ""));
    buf_append_char(out, ',');
    json_number(out, "db", c->db);
    json_number(out, "age", (uint64_t)(w->now - c->created_ms) / 1000);
    json_number(out, "idle", w->now > c->active_ms ? (uint64_t)(w->now - c->active_ms) / 1000 : 0);
    json_number(out, "commands", c->commands);
    json_number(out, "in", c->bytes_in);
    json_number(out, "out", c->bytes_out);
    json_number(out, "unsent", c->out.len - c->out_sent);
    json_number(out, "blocked", c->flags & CONN_BLOCKED ? 1 : 0);
    json_end(out, '}');
}

static void tell_clients(struct worker *w, struct buf *out)
{
    unsigned n = 0;
    json_name(out, "clients");
    buf_append_char(out, '[');
    for (const struct list *l = w->conns.prev; l != &w->conns; l = l->prev) {
        if (n++ == CLIENTS_MAX) break;
        struct conn *c = CONTAINER_OF(l, struct conn, link);
        if (!(c->flags & CONN_CLOSING)) client_entry(w, out, c);
    }
    json_end(out, ']');
}

static void tell(struct worker *w, struct fanout *f)
{
    struct buf *out = &f->out[w->id];
    buf_append_char(out, '{');
    tell_slow(w, out);
    tell_clients(w, out);
    hotkeys_tell(w, out);
    bigkeys_tell(w, out);
    w->quiet = false; /* big keys are looked for by its ticks */
    w->quiet_ticks = 0;
    json_end(out, '}');
}

/* ---- the way there and back ---- */

static void told(struct worker *w, struct fanout *f, struct conn *c, struct reply *reply)
{
    struct buf *answer = &w->hub->observe.answer;
    (void)c;
    (void)reply;
    buf_append_char(answer, '[');
    for (worker_id id = 0; id < w->hub->count; id++) {
        buf_append_slice(answer, buf_slice(&f->out[id]));
        if (f->out[id].failed) answer->failed = true;
    }
    json_end(answer, ']');
    answer->len -= answer->failed ? 0 : 1; /* the comma behind it */
    claim_try_shared(&w->hub->observe.state, OBSERVE_RUNS, OBSERVE_TOLD);
}

void observe_step_slow(struct worker *w)
{
    if (!claim_try_shared(&w->hub->observe.state, OBSERVE_ASKED, OBSERVE_RUNS)) return;
    fanout_start(fanout_new(w, NULL, tell, told, NULL), false);
}

bool observe_ask(struct hub *hub, struct buf *out, int64_t timeout_us)
{
    struct hub_observe *o = &hub->observe;
    int64_t until_us = os_mono_us() + timeout_us;
    bool asked = false;
    for (;; os_sleep_us(LOOK_US)) {
        uint32_t state = claim_get_shared(&o->state);
        if (state == OBSERVE_TOLD) {
            struct buf answer = o->answer;
            o->answer = (struct buf){0};
            claim_try_shared(&o->state, OBSERVE_TOLD, OBSERVE_NONE);
            if (asked && !answer.failed) buf_append_slice(out, buf_slice(&answer));
            bool whole = !answer.failed;
            buf_deinit(&answer);
            if (asked) return whole; /* else it was late for who asked before */
        } else if (state == OBSERVE_NONE && !asked) {
            if (hub_stopping_shared(hub)) return false;
            asked = claim_try_shared(&o->state, OBSERVE_NONE, OBSERVE_ASKED);
            counter_next_shared(&hub->waking);
            if (hub->workers[0]) io_wake_shared(hub->workers[0]->io);
            counter_drop_shared(&hub->waking);
        }
        if (os_mono_us() >= until_us) return false;
    }
}
