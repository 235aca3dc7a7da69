/* What LATENCY tells people rather than programs: the graph and the doctor's report.
 * Thread: any. */
#ifndef SPLITRING_SRC_WORKER_LATENCY_TEXT_H
#define SPLITRING_SRC_WORKER_LATENCY_TEXT_H

#include "latency.h"

/* The samples as columns of characters, with how long ago each was below. */
void latency_graph(struct buf *out, const char *event, const struct latency_series *series,
                   int64_t now_s);
/* series: one per event. Thread: the connection's worker. */
void latency_doctor(struct buf *out, const struct worker *w, const struct latency_series *series);

#endif
