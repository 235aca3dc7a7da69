/* A host for scripts without a server: calls are recorded, replies are canned.
 * Thread: owner. */
#ifndef SPLITRING_TESTS_FAKE_HOST_H
#define SPLITRING_TESTS_FAKE_HOST_H

#include "splitring/script/vm.h"

/* Commands it knows: PING → +PONG; ECHO x → x; ERROR text → -text; RESP text → that text as it is;
 * VERSION → the protocol; STOP → the run must stop; NIL → a null. */
struct fake_host {
    struct script_vm *vm;
    struct buf calls;        /* "SET a b|GET a|" */
    struct buf log;          /* "2:text|" */
    unsigned pulses;
    unsigned pause_every;    /* 0: never */
    unsigned kill_at;        /* pulse; 0: never */
    unsigned give_up_at;     /* pulse at which a test is taken to hang: kills */
    unsigned call_count;
    unsigned stop_at_call;   /* 0: never */
    uint8_t proto;           /* of replies */
    struct buf reply;
    uint32_t errors;
    unsigned pauses;
};

extern const struct script_host fake_host_face;

void fake_host_init(struct fake_host *h);
void fake_host_deinit(struct fake_host *h);
/* One run without keys, through all its pauses. The reply, or the load's error with '-'; "STOPPED"
 * for a stop. Belongs to h until the next. */
const char *fake_host_eval(struct fake_host *h, const char *text);
/* With keys and arguments, NULL-terminated lists. */
const char *fake_host_eval_with(struct fake_host *h, const char *text, const char *const *keys,
                                const char *const *args);

#endif
