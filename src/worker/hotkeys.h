/* Which keys are hot, and which are big, as far as one worker has seen: samples for onlookers, and
 * HOTKEYS' sessions.
 * Thread: the worker. */
#ifndef SPLITRING_SRC_WORKER_HOTKEYS_H
#define SPLITRING_SRC_WORKER_HOTKEYS_H

#include "exec.h"

#define HOT_KEY_LEN_MAX 112u /* of a key's bytes that are kept; longer ones by their hash */

struct hotkeys;
struct hotkeys *hotkeys_new(void);
void hotkeys_free(struct hotkeys *h);

/* One of METER_SAMPLE commands. */
void hotkeys_sample(struct worker *w, const struct exec *x);
/* Of a session: every command, while hotkeys_session_active(). */
void hotkeys_count(struct worker *w, const struct exec *x, uint64_t ns, size_t reply_len);
bool hotkeys_session_active(const struct worker *w);

/* ---- sessions (local_hotkeys.c) ---- */

enum hot_metric { HOT_CPU, HOT_NET, HOT_METRICS };

struct hot_session {
    bool known, active;
    bool wants[HOT_METRICS];
    int64_t keys, sample;  /* COUNT, SAMPLE */
    instant_ms start_ms, end_ms; /* end: when it was, or will be, stopped; EXPIRE_NONE */
    uint64_t ns, net, cpu_user_us, cpu_system_us; /* of this worker since then */
};
/* What it is now; one whose time is over has stopped. */
struct hot_session hotkeys_session(struct worker *w);
void hotkeys_session_start(struct worker *w, const struct hot_session *s);
void hotkeys_session_stop(struct worker *w);
void hotkeys_session_reset(struct worker *w);
/* Its keys, as they lie in memory: struct hot_slot one after another. */
void hotkeys_session_slots(const struct worker *w, enum hot_metric metric, struct buf *out);

struct hot_slot {
    uint64_t hash, weight;
    uint32_t len; /* of the key; HOT_KEY_LEN_MAX bytes of it at most are here */
    db_id db;
    char key[HOT_KEY_LEN_MAX];
};

/* ---- for onlookers: JSON, "hot":[…],"big":[…], ---- */

void hotkeys_tell(struct worker *w, struct buf *out);
/* Ten times a second: looks at some more keys for their size, while somebody wants to know. */
void bigkeys_step(struct worker *w);
void bigkeys_tell(struct worker *w, struct buf *out);

#endif
