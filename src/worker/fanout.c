/* One act, every worker.
 *
 *   home ──(ordered: by way of worker 0)──▶ each worker: part() ──▶ home: done(), reply
 *
 * Mailboxes are FIFO, so what goes through worker 0 reaches every worker in one order. A worker's
 * own part runs at once, in place. The descriptor belongs to home; a part writes only its own out[]
 * and number[], which come home with the message.
 * Thread: as the face says. */
#include "fanout.h"

#include "conn.h"
#include "meter.h"
#include "splitring/base/mem.h"
#include "stats.h"

struct fanout *fanout_new(
    struct worker *w, struct conn *c, void (*part)(struct worker *, struct fanout *),
    void (*done)(struct worker *, struct fanout *, struct conn *, struct reply *), void *arg)
{
    struct fanout *f = mem_zalloc(sizeof *f);
    f->part = part;
    f->done = done;
    f->free_arg = mem_free;
    f->arg = arg;
    f->conn = c;
    f->home = w;
    f->pending = w->hub->count;
    f->proto = c ? c->proto : 2;
    return f;
}

static void fanout_finish(struct worker *w, struct fanout *f)
{
    struct conn *c = f->conn;
    struct buf out = {0};
    struct reply reply = {.out = &out, .proto = f->proto};
    bool live = c && !(c->flags & CONN_CLOSING);
    f->done(w, f, live ? c : NULL, live ? &reply : NULL);
    bool goes_on = c && c->in_flight != f; /* done() has started something else in its place */
    meter_fanout_ended(w, f, out.len);
    if (live && !goes_on) {
        stats_note_reply(w, c->last_cmd, &reply);
        conn_append_reply(c, &out);
    }
    buf_deinit(&out);
    for (unsigned i = 0; i < w->hub->count; i++) buf_deinit(&f->out[i]);
    if (f->free_arg) f->free_arg(f->arg);
    mem_free(f);
    if (c && !goes_on) conn_resume(c);
}

static void send_to_all(struct worker *w, struct fanout *f)
{
    for (worker_id to = 0; to < w->hub->count; to++)
        if (to != w->id) worker_send(w, to, MSG_FANOUT, f);
    fanout_part(w, f);
}

void fanout_start(struct fanout *f, bool ordered)
{
    struct worker *w = f->home;
    if (f->conn) {
        f->conn->flags |= CONN_WAITING;
        f->conn->in_flight = f;
        if (w->meter.local) w->meter.fanout = f;
    }
    if (ordered && w->id != 0)
        worker_send(w, 0, MSG_FANOUT_ORDER, f);
    else
        send_to_all(w, f);
}

void fanout_order(struct worker *w, struct fanout *f)
{
    send_to_all(w, f);
}

void fanout_part(struct worker *w, struct fanout *f)
{
    uint64_t start = meter_ticks(w);
    f->part(w, f);
    f->ns[w->id] = meter_ns(w, start, meter_ticks(w));
    if (w == f->home)
        fanout_part_done(w, f);
    else
        worker_send(w, f->home->id, MSG_FANOUT_DONE, f);
}

void fanout_part_done(struct worker *w, struct fanout *f)
{
    if (--f->pending == 0) fanout_finish(w, f);
}
