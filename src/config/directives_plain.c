/* The directives that nothing reads: known, checked as Redis checks them, shown by CONFIG GET and
 * kept by CONFIG REWRITE, but without effect, so that a redis.conf or valkey.conf works unchanged.
 *
 * Ignoring is right only where nothing that was asked for is lost. A directive whose silent loss
 * would cost data, safety or reachability (a primary to follow, a module)
 * is refused with the reason, by ONLY(), unless it is given its preset.
 *
 * Thread: any (constant). */
#include <assert.h>

#include "rows.h"

static const struct directive_word adjustments[] = {
    {"no", 0}, {"yes", 1}, {"relative", 1}, {"absolute", 2}, {0}};
static const struct directive_word diskless_loads[] = {
    {"disabled", 0}, {"on-empty-db", 1}, {"swapdb", 2}, {"flush-before-load", 3}, {0}};
static const struct directive_word sanitizers[] = {{"no", 0}, {"yes", 1}, {"clients", 2}, {0}};
static const struct directive_word guards[] = {{"no", 0}, {"yes", 1}, {"local", 2}, {0}};
static const struct directive_word endpoints[] = {
    {"ip", 0}, {"hostname", 1}, {"unknown-endpoint", 2}, {0}};
static const struct directive_word panics[] = {
    {"ignore", 0}, {"panic", 1}, {"panic-on-replicas", 2}, {0}};
static const struct directive_word tls_users[] = {{"CN", 0}, {"URI", 1}, {"off", 2}, {0}};
static const struct directive_word rdb_checks[] = {{"strict", 0}, {"relaxed", 1}, {0}};
static const struct directive_word node_saves[] = {{"sync", 0}, {"best-effort", 1}, {0}};

#define NOT_YET " in this version of Splitring"
static const char threads[] = "has no meaning here: every worker does its own I/O (see `threads`)";
static const char ticks[] = "has no meaning here: there is no fixed tick, work is done when due";
static const char tables[] = "has no meaning here: tables grow in small steps without rehashing";
static const char defrag[] = "has no meaning here: the allocator is not jemalloc";
static const char slices[] = "is not needed: collections are always moved in slices of 64 members";
static const char no_fork[] = "has no meaning here: Splitring never forks";
static const char kernel[] = "is left to the system: set it for the service";
static const char crash[] = "has no meaning here: crashes are left to the system's core dumps";
static const char debugging[] = "is an aid for Redis' own tests";
static const char deprecated[] = "is deprecated in Redis too";
static const char persistence[] = "persistence is not available yet" NOT_YET;
static const char replication[] = "replication is not available yet" NOT_YET;
static const char cluster[] = "cluster mode is not available yet" NOT_YET;
static const char tls_turns[] =
    "has no meaning here: a pass spends a bounded time on handshakes (a millisecond)";
static const char tls_away[] = "is for connections to other servers, which do not use TLS" NOT_YET;
static const char tls_user[] = "certificates do not choose the user" NOT_YET;
static const char tls_reload[] = "is not supported: CONFIG SET tls-cert-file reads the files again";
static const char modules[] = "modules are not supported";
static const char sorting[] = "SORT compares bytes" NOT_YET;
static const char valkey[] = "belongs to Valkey and has no counterpart here";

#define COUNT LIMITS(0, INT32_MAX)
#define LARGE LIMITS(0, INT64_MAX)
#define PORT LIMITS(0, 65535)
#define ANY LIMITS(INT32_MIN, INT32_MAX)
#define UNSEEN (HIDDEN | MUTABLE)

/* clang-format off */
const struct directive directives_plain[] = {
    {.name = "include", .type = DIRECTIVE_INCLUDE, .flags = FILE_ONLY | MULTI},

    /* threads, ticks, memory, the system */
    TEXT(INT, threads, "io-threads", NULL, IMMUTABLE, "1", LIMITS(1, 256)),
    TEXT(BOOL, threads, "io-threads-do-reads", NULL, IMMUTABLE, "no"),
    TEXT(INT, threads, "prefetch-batch-max-size", NULL, MUTABLE, "16", LIMITS(0, 128)),
    TEXT(STRING, threads, "server-cpulist", "server_cpulist", IMMUTABLE, ""),
    TEXT(STRING, threads, "bio-cpulist", "bio_cpulist", IMMUTABLE, ""),
    TEXT(STRING, no_fork, "aof-rewrite-cpulist", "aof_rewrite_cpulist", IMMUTABLE, ""),
    TEXT(STRING, no_fork, "bgsave-cpulist", "bgsave_cpulist", IMMUTABLE, ""),
    TEXT(INT, ticks, "hz", NULL, MUTABLE, "10", COUNT),
    TEXT(BOOL, ticks, "dynamic-hz", NULL, MUTABLE, "yes"),
    TEXT(INT, ticks, "max-new-connections-per-cycle", NULL, MUTABLE, "10", LIMITS(1, 1000)),
    TEXT(INT, tls_turns, "max-new-tls-connections-per-cycle", NULL, MUTABLE, "1", LIMITS(1, 1000)),
    TEXT(BOOL, tables, "activerehashing", NULL, MUTABLE, "yes"),
    TEXT(BOOL, defrag, "jemalloc-bg-thread", NULL, MUTABLE, "yes"),
    TEXT(INT, slices, "active-defrag-max-scan-fields", NULL, MUTABLE, "1000", LIMITS(1, INT64_MAX)),
    TEXT(ENUM, kernel, "oom-score-adj", NULL, MUTABLE, "no", WORDS(adjustments)),
    TEXT(OOM_VALUES, kernel, "oom-score-adj-values", NULL, MULTI, "0 200 800"),
    TEXT(BOOL, kernel, "disable-thp", NULL, IMMUTABLE, "yes"),
    TEXT(INT, kernel, "socket-mark-id", NULL, IMMUTABLE, "0", LIMITS(0, UINT32_MAX)),
    TEXT(STRING, kernel, "ignore-warnings", NULL, MUTABLE, ""),
    TEXT(BOOL, kernel, "mptcp", NULL, IMMUTABLE, "no"),
    ONLY(STRING, "a group for the Unix socket cannot be set yet", "unixsocketgroup", NULL,
         IMMUTABLE, ""),
    TEXT(BOOL, crash, "crash-log-enabled", NULL, MUTABLE, "yes"),
    TEXT(BOOL, crash, "crash-memcheck-enabled", NULL, MUTABLE, "yes"),
    TEXT(BOOL, valkey, "hide-user-data-from-log", NULL, MUTABLE, "no"),
    TEXT(BOOL, valkey, "extended-redis-compatibility", NULL, MUTABLE, "no"),
    TEXT(BOOL, valkey, "import-mode", NULL, MUTABLE, "no"),
    TEXT(STRING, valkey, "availability-zone", NULL, MUTABLE, ""),
    TEXT(STRING, valkey, "hash-seed", NULL, IMMUTABLE, ""),
    ONLY(INT, "RDMA is not supported", "rdma-port", NULL, MUTABLE, "0", PORT),
    TEXT(STRING, valkey, "rdma-bind", NULL, MUTABLE, ""),
    TEXT(INT, valkey, "rdma-rx-size", NULL, IMMUTABLE, "1048576", LIMITS(65536, 16777216)),
    TEXT(INT, valkey, "rdma-completion-vector", NULL, IMMUTABLE, "-1", LIMITS(-1, 1024)),
    TEXT(STRING, sorting, "locale-collate", NULL, MUTABLE, ""),

    /* persistence */
    TEXT(MEMORY, persistence, "aof-load-corrupt-tail-max-size", NULL, MUTABLE, "0", LARGE),
    TEXT(BOOL, persistence, "aof-use-rdb-preamble", NULL, MUTABLE, "yes"),
    TEXT(BOOL, persistence, "aof-rewrite-incremental-fsync", NULL, MUTABLE, "yes"),
    TEXT(BOOL, persistence, "aof-disable-auto-gc", NULL, UNSEEN, "no"),
    TEXT(BOOL, persistence, "rdb-del-sync-files", NULL, MUTABLE, "no"),
    TEXT(ENUM, persistence, "rdb-version-check", NULL, MUTABLE, "strict", WORDS(rdb_checks)),
    TEXT(ENUM, persistence, "sanitize-dump-payload", NULL, MUTABLE, "no", WORDS(sanitizers)),

    /* replication */
    ONLY(REPLICAOF, replication, "replicaof", "slaveof", IMMUTABLE | MULTI, ""),
    TEXT(STRING, replication, "masterauth", "primaryauth", SENSITIVE, ""),
    TEXT(STRING, replication, "masteruser", "primaryuser", SENSITIVE, ""),
    TEXT(STRING, replication, "bind-source-addr", NULL, MUTABLE, ""),
    TEXT(BOOL, replication, "replica-serve-stale-data", "slave-serve-stale-data", MUTABLE, "yes"),
    TEXT(BOOL, replication, "replica-read-only", "slave-read-only", MUTABLE, "yes"),
    TEXT(BOOL, replication, "replica-lazy-flush", "slave-lazy-flush", MUTABLE, "no"),
    TEXT(BOOL, replication, "replica-ignore-maxmemory", "slave-ignore-maxmemory", MUTABLE, "yes"),
    TEXT(BOOL, replication, "replica-ignore-disk-write-errors", NULL, MUTABLE, "no"),
    TEXT(BOOL, replication, "replica-announced", NULL, MUTABLE, "yes"),
    TEXT(STRING, replication, "replica-announce-ip", "slave-announce-ip", MUTABLE, ""),
    TEXT(INT, replication, "replica-announce-port", "slave-announce-port", MUTABLE, "0", PORT),
    TEXT(INT, replication, "replica-priority", "slave-priority", MUTABLE, "100", COUNT),
    TEXT(MEMORY, replication, "replica-full-sync-buffer-limit", NULL, MUTABLE, "0", LARGE),
    TEXT(BOOL, replication, "repl-diskless-sync", NULL, MUTABLE, "yes"),
    TEXT(INT, replication, "repl-diskless-sync-delay", NULL, MUTABLE, "5", COUNT),
    TEXT(INT, replication, "repl-diskless-sync-max-replicas", NULL, MUTABLE, "0", COUNT),
    TEXT(ENUM, replication, "repl-diskless-load", NULL, MUTABLE, "disabled", WORDS(diskless_loads)),
    TEXT(BOOL, replication, "repl-disable-tcp-nodelay", NULL, MUTABLE, "no"),
    TEXT(BOOL, replication, "repl-mptcp", NULL, MUTABLE, "no"),
    TEXT(BOOL, replication, "repl-rdb-channel", NULL, MUTABLE, "no"),
    TEXT(BOOL, replication, "dual-channel-replication-enabled", NULL, MUTABLE, "no"),
    TEXT(INT, replication, "repl-timeout", NULL, MUTABLE, "60", LIMITS(1, INT32_MAX)),
    TEXT(INT, replication, "repl-ping-replica-period", "repl-ping-slave-period", MUTABLE, "10",
         LIMITS(1, INT32_MAX)),
    TEXT(MEMORY, replication, "repl-backlog-size", NULL, MUTABLE, "1mb", LIMITS(1, INT64_MAX)),
    TEXT(INT, replication, "repl-backlog-ttl", NULL, MUTABLE, "3600", LARGE),
    TEXT(ENUM, replication, "propagation-error-behavior", NULL, MUTABLE, "ignore", WORDS(panics)),

    /* users, modules, other programs' directives */
    ONLY(NEVER, modules, "loadmodule", NULL, FILE_ONLY | MULTI, NULL),
    TEXT(ENUM, modules, "enable-module-command", NULL, IMMUTABLE, "no", WORDS(guards)),
    ONLY(NEVER, "sentinel directive while not in sentinel mode", "sentinel", NULL,
         FILE_ONLY | MULTI, NULL),
    TEXT(STRING, deprecated, "list-max-ziplist-entries", NULL, FILE_ONLY, NULL),
    TEXT(STRING, deprecated, "list-max-ziplist-value", NULL, FILE_ONLY, NULL),
    TEXT(STRING, deprecated, "lua-replicate-commands", NULL, FILE_ONLY, NULL),
    TEXT(BOOL, deprecated, "lua-enable-deprecated-api", NULL, IMMUTABLE | HIDDEN, "no"),

    /* Redis Cluster */
    ONLY(BOOL, cluster, "cluster-enabled", NULL, IMMUTABLE, "no"),
    TEXT(STRING, cluster, "cluster-config-file", NULL, IMMUTABLE, "nodes.conf"),
    TEXT(ENUM, cluster, "cluster-config-save-behavior", NULL, MUTABLE, "sync", WORDS(node_saves)),
    TEXT(INT, cluster, "cluster-databases", NULL, IMMUTABLE, "1", LIMITS(1, INT32_MAX)),
    TEXT(INT, cluster, "cluster-node-timeout", NULL, MUTABLE, "15000", LARGE),
    TEXT(INT, cluster, "cluster-ping-interval", NULL, UNSEEN, "0", LARGE),
    TEXT(INT, cluster, "cluster-manual-failover-timeout", NULL, MUTABLE, "5000",
         LIMITS(1, INT32_MAX)),
    TEXT(INT, cluster, "cluster-blacklist-ttl", NULL, MUTABLE, "60", LIMITS(0, UINT32_MAX)),
    TEXT(INT, cluster, "cluster-port", NULL, IMMUTABLE, "0", PORT),
    TEXT(STRING, cluster, "cluster-announce-ip", NULL, MUTABLE, ""),
    TEXT(INT, cluster, "cluster-announce-port", NULL, MUTABLE, "0", PORT),
    TEXT(INT, cluster, "cluster-announce-tls-port", NULL, MUTABLE, "0", PORT),
    TEXT(INT, cluster, "cluster-announce-bus-port", NULL, MUTABLE, "0", PORT),
    TEXT(STRING, cluster, "cluster-announce-hostname", NULL, MUTABLE, ""),
    TEXT(STRING, cluster, "cluster-announce-human-nodename", NULL, MUTABLE, ""),
    TEXT(STRING, cluster, "cluster-announce-client-ipv4", NULL, MUTABLE, ""),
    TEXT(STRING, cluster, "cluster-announce-client-ipv6", NULL, MUTABLE, ""),
    TEXT(INT, cluster, "cluster-announce-client-port", NULL, MUTABLE, "0", PORT),
    TEXT(INT, cluster, "cluster-announce-client-tls-port", NULL, MUTABLE, "0", PORT),
    TEXT(ENUM, cluster, "cluster-preferred-endpoint-type", NULL, MUTABLE, "ip", WORDS(endpoints)),
    TEXT(BOOL, cluster, "cluster-require-full-coverage", NULL, MUTABLE, "yes"),
    TEXT(BOOL, cluster, "cluster-allow-reads-when-down", NULL, MUTABLE, "no"),
    TEXT(BOOL, cluster, "cluster-allow-pubsubshard-when-down", NULL, MUTABLE, "yes"),
    TEXT(BOOL, cluster, "cluster-allow-replica-migration", NULL, MUTABLE, "yes"),
    TEXT(BOOL, cluster, "cluster-replica-no-failover", "cluster-slave-no-failover", MUTABLE, "no"),
    TEXT(INT, cluster, "cluster-replica-validity-factor", "cluster-slave-validity-factor", MUTABLE,
         "10", COUNT),
    TEXT(INT, cluster, "cluster-migration-barrier", NULL, MUTABLE, "1", COUNT),
    TEXT(MEMORY, cluster, "cluster-link-sendbuf-limit", NULL, MUTABLE, "0", LARGE),
    TEXT(INT, cluster, "cluster-compatibility-sample-ratio", NULL, MUTABLE, "0", LIMITS(0, 100)),
    TEXT(BOOL, cluster, "cluster-slot-stats-enabled", NULL, MUTABLE, "no"),
    TEXT(INT, cluster, "cluster-slot-migration-log-max-len", NULL, MUTABLE, "1000", LARGE),
    TEXT(MEMORY, cluster, "slot-migration-max-failover-repl-bytes", NULL, MUTABLE, "0", LARGE),

    /* TLS */
    TEXT(BOOL, tls_away, "tls-cluster", NULL, MUTABLE, "no"),
    TEXT(BOOL, tls_away, "tls-replication", NULL, MUTABLE, "no"),
    TEXT(ENUM, tls_user, "tls-auth-clients-user", NULL, MUTABLE, "off", WORDS(tls_users)),
    TEXT(INT, tls_reload, "tls-auto-reload-interval", NULL, MUTABLE, "0", COUNT),
    TEXT(STRING, tls_away, "tls-client-cert-file", NULL, MUTABLE, ""),
    TEXT(STRING, tls_away, "tls-client-key-file", NULL, MUTABLE, ""),
    TEXT(STRING, tls_away, "tls-client-key-file-pass", NULL, SENSITIVE, ""),

    /* aids of Redis' own tests */
    TEXT(BOOL, debugging, "use-exit-on-panic", NULL, UNSEEN, "no"),
    TEXT(INT, debugging, "rdb-key-save-delay", NULL, UNSEEN, "0", ANY),
    TEXT(INT, debugging, "key-load-delay", NULL, UNSEEN, "0", ANY),
    TEXT(INT, debugging, "watchdog-period", NULL, UNSEEN, "0", COUNT),
    TEXT(INT, debugging, "loading-process-events-interval-bytes", NULL, UNSEEN, "2097152",
         LIMITS(1024, INT32_MAX)),
    TEXT(BOOL, debugging, "lazyexpire-nested-arbitrary-keys", NULL, UNSEEN, "yes"),
    TEXT(BOOL, debugging, "debug-assert-enabled", NULL, HIDDEN | IMMUTABLE, "no"),
};
/* clang-format on */

const size_t directives_plain_count = ARRAY_COUNT(directives_plain);
static_assert(ARRAY_COUNT(directives_plain) <= CONFIG_PLAIN_MAX, "config.h: CONFIG_PLAIN_MAX");
