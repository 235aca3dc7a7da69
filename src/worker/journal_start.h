/* Switching the append log on and off, rewriting it.
 * Thread: as each function says. */
#ifndef SPLITRING_SRC_WORKER_JOURNAL_START_H
#define SPLITRING_SRC_WORKER_JOURNAL_START_H

#include "journal_log.h"

/* What there was to load has been loaded, and nothing has run yet. 0, or it has been logged why the
 * server must not go on. Thread: one. */
int journal_start(struct hub *hub);
/* What P has to know of it. Thread: one at a time. */
void journal_configure(struct hub *hub, const struct config *config);
/* CONFIG SET has changed it. Thread: the worker that was asked. */
void journal_config_changed(struct worker *w);

bool journal_rewriting(const struct hub *hub);
/* Begins a rewrite; begin: and with it the log. False: there is one. Thread: any worker. */
bool journal_rewrite(struct worker *w, bool begin);
/* As soon as one may. Thread: any worker. */
void journal_rewrite_later(struct hub *hub);
/* Worker 0 begins what is wanted. Thread: worker 0. */
bool journal_wanted_slow(struct worker *w);

#endif
