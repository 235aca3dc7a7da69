/* The directives that the server acts upon, or will soon: each has a field in struct config.
 *
 * Names, defaults and limits are those of Redis 7.2 and 8.0 (where they differ, 7.2's, which is
 * what an existing redis.conf was written for); sources are the commented redis.conf of those
 * releases and the answers of a running server, which tests/integration/config_commands.py compares
 * again. A directive moves here from directives_plain.c when something starts to read it: give it a
 * field, move the row, change the class.
 *
 * Thread: any (constant). */
#include "rows.h"

static const struct directive_word io_engines[] = {
    {"auto", CONFIG_IO_AUTO}, {"io_uring", CONFIG_IO_URING}, {"epoll", CONFIG_IO_EPOLL}, {0}};
static const struct directive_word placements[] = {
    {"packed", CONFIG_PLACEMENT_PACKED}, {"spread", CONFIG_PLACEMENT_SPREAD}, {0}};
static const struct directive_word policies[] = {
    {"volatile-lru", CONFIG_POLICY_VOLATILE_LRU},
    {"volatile-lfu", CONFIG_POLICY_VOLATILE_LFU},
    {"volatile-random", CONFIG_POLICY_VOLATILE_RANDOM},
    {"volatile-ttl", CONFIG_POLICY_VOLATILE_TTL},
    {"allkeys-lru", CONFIG_POLICY_ALLKEYS_LRU},
    {"allkeys-lfu", CONFIG_POLICY_ALLKEYS_LFU},
    {"allkeys-random", CONFIG_POLICY_ALLKEYS_RANDOM},
    {"noeviction", CONFIG_POLICY_NOEVICTION},
    {0}};
static const struct directive_word loglevels[] = {{"debug", CONFIG_LOG_DEBUG},
                                                  {"verbose", CONFIG_LOG_VERBOSE},
                                                  {"notice", CONFIG_LOG_NOTICE},
                                                  {"warning", CONFIG_LOG_WARNING},
                                                  {"nothing", CONFIG_LOG_NOTHING},
                                                  {0}};
static const struct directive_word log_formats[] = {{"legacy", 0}, {"logfmt", 1}, {"json", 2}, {0}};
static const struct directive_word log_times[] = {
    {"legacy", 0}, {"iso8601", 1}, {"milliseconds", 2}, {0}};
static const struct directive_word facilities[] = {
    {"user", 8}, {"local0", 0}, {"local1", 1}, {"local2", 2}, {"local3", 3}, {"local4", 4},
    {"local5", 5}, {"local6", 6}, {"local7", 7}, {0}};
static const struct directive_word fsyncs[] = {{"everysec", CONFIG_FSYNC_EVERYSEC},
                                               {"always", CONFIG_FSYNC_ALWAYS},
                                               {"no", CONFIG_FSYNC_NO},
                                               {0}};
static const struct directive_word layouts[] = {
    {"single", CONFIG_LAYOUT_SINGLE}, {"shards", CONFIG_LAYOUT_SHARDS}, {0}};
static const struct directive_word supervisors[] = {{"upstart", CONFIG_SUPERVISED_UPSTART},
                                                    {"systemd", CONFIG_SUPERVISED_SYSTEMD},
                                                    {"auto", CONFIG_SUPERVISED_AUTO},
                                                    {"no", CONFIG_SUPERVISED_NO},
                                                    {0}};
static const struct directive_word guards[] = {
    {"no", CONFIG_GUARD_NO}, {"yes", CONFIG_GUARD_YES}, {"local", CONFIG_GUARD_LOCAL}, {0}};
static const struct directive_word shutdowns[] = {{"default", 0},
                                                  {"save", CONFIG_SHUTDOWN_SAVE},
                                                  {"nosave", CONFIG_SHUTDOWN_NOSAVE},
                                                  {"now", CONFIG_SHUTDOWN_NOW},
                                                  {"force", CONFIG_SHUTDOWN_FORCE},
                                                  {0}};
static const struct directive_word tls_clients[] = {{"no", CONFIG_TLS_AUTH_NO},
                                                    {"yes", CONFIG_TLS_AUTH_YES},
                                                    {"optional", CONFIG_TLS_AUTH_OPTIONAL},
                                                    {0}};
static const struct directive_word pubsub_presets[] = {
    {"allchannels", CONFIG_PUBSUB_ALLCHANNELS},
    {"resetchannels", CONFIG_PUBSUB_RESETCHANNELS},
    {0}};

static const char why_replication[] =
    "replication is not available yet in this version of Splitring";

/* Rows marked so have a field that nothing reads yet; whoever starts to read it takes the mark off
 * (tests/integration/config_commands.py finds rows that claim too much). */
static const char why_soon[] = "is not acted upon yet in this version of Splitring";
#define SOON IGNORED(why_soon)

static const char *object_to_dbfilename(struct slice text)
{
    if (text.len && memchr(text.ptr, '/', text.len))
        return "dbfilename can't be a path, just a filename";
    return NULL;
}

static const char *object_to_appendfilename(struct slice text)
{
    if (text.len == 0) return "appendfilename can't be empty";
    return memchr(text.ptr, '/', text.len) ? "appendfilename can't be a path, just a filename"
                                           : NULL;
}

static const char *object_to_appenddirname(struct slice text)
{
    if (text.len == 0) return "appenddirname can't be empty";
    return memchr(text.ptr, '/', text.len) ? "appenddirname can't be a path, just a dirname" : NULL;
}

/* Braces hold known names only. */
static const char *object_to_template(struct slice text)
{
    static const char *const names[] = {"title",      "listen-addr", "server-mode", "port",
                                        "tls-port",   "unixsocket",  "config-file"};
    static const char message[] = "template format is invalid or contains unknown variables";
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '{') continue;
        const char *from = text.ptr + i + 1;
        const char *end = memchr(from, '}', text.len - i - 1);
        if (!end) return message;
        bool known = false;
        for (size_t j = 0; j < ARRAY_COUNT(names); j++)
            known |= slice_equal(slice_of(from, (size_t)(end - from)), slice_str(names[j]));
        if (!known) return message;
        i += (size_t)(end - from) + 1;
    }
    return NULL;
}

#define MIB (1024 * 1024)

/* clang-format off */
const struct directive directives_honoured[] = {
    /* threads and I/O: ours */
    ROW(AUTO, "threads", NULL, IMMUTABLE, threads, "auto", LIMITS(1, SHARDS_MAX)),
    ROW(ENUM, "io-engine", NULL, IMMUTABLE, io_engine, "auto", WORDS(io_engines)),
    ROW(BOOL, "shard-lending", NULL, IMMUTABLE, shard_lending, "yes"),
    ROW(ENUM, "connection-placement", NULL, MUTABLE, connection_placement, "packed",
        WORDS(placements)),
    ROW(BOOL, "cpu-pinning", NULL, IMMUTABLE, cpu_pinning, "yes"),

    /* listening */
    ROW(BIND, "bind", NULL, MULTI, bind, "* -::*"),
    ROW(INT, "port", NULL, MUTABLE, port, "6379", LIMITS(0, 65535)),
    ROW(INT, "admin-port", NULL, IMMUTABLE, admin_port, "0", LIMITS(0, 65535)),
    ROW(BIND, "admin-bind", NULL, MULTI | IMMUTABLE, admin_bind, "127.0.0.1"),
    ROW(INT, "tcp-backlog", NULL, IMMUTABLE, tcp_backlog, "511", LIMITS(0, INT32_MAX)),
    ROW(STRING, "unixsocket", NULL, IMMUTABLE, unixsocket, ""),
    ROW(OCTAL, "unixsocketperm", NULL, IMMUTABLE, unixsocketperm, "0", LIMITS(0, 0777)),
    ROW(BOOL, "protected-mode", NULL, MUTABLE, protected_mode, "yes"),

    /* TLS */
    ROW(INT, "tls-port", NULL, MUTABLE, tls_port, "0", LIMITS(0, 65535)),
    ROW(STRING, "tls-cert-file", NULL, MUTABLE, tls_cert_file, ""),
    ROW(STRING, "tls-key-file", NULL, MUTABLE, tls_key_file, ""),
    ROW(STRING, "tls-key-file-pass", NULL, SENSITIVE, tls_key_file_pass, ""),
    ROW(STRING, "tls-dh-params-file", NULL, MUTABLE, tls_dh_params_file, ""),
    ROW(STRING, "tls-ca-cert-file", NULL, MUTABLE, tls_ca_cert_file, ""),
    ROW(STRING, "tls-ca-cert-dir", NULL, MUTABLE, tls_ca_cert_dir, ""),
    ROW(STRING, "tls-protocols", NULL, MUTABLE, tls_protocols, ""),
    ROW(STRING, "tls-ciphers", NULL, MUTABLE, tls_ciphers, ""),
    ROW(STRING, "tls-ciphersuites", NULL, MUTABLE, tls_ciphersuites, ""),
    ROW(ENUM, "tls-auth-clients", NULL, MUTABLE, tls_auth_clients, "yes", WORDS(tls_clients)),
    ROW(BOOL, "tls-prefer-server-ciphers", NULL, MUTABLE, tls_prefer_server_ciphers, "no"),
    ROW(BOOL, "tls-session-caching", NULL, MUTABLE, tls_session_caching, "yes"),
    ROW(INT, "tls-session-cache-size", NULL, MUTABLE, tls_session_cache_size, "20480",
        LIMITS(0, INT32_MAX)),
    ROW(INT, "tls-session-cache-timeout", NULL, MUTABLE, tls_session_cache_timeout_s, "300",
        LIMITS(0, INT32_MAX)),

    /* clients */
    ROW(INT, "maxclients", NULL, MUTABLE, maxclients, "10000", LIMITS(1, UINT32_MAX)),
    ROW(INT, "timeout", NULL, MUTABLE, timeout_s, "0", LIMITS(0, INT32_MAX)),
    ROW(INT, "tcp-keepalive", NULL, MUTABLE, tcp_keepalive_s, "300", LIMITS(0, INT32_MAX)),
    ROW(MEMORY, "proto-max-bulk-len", NULL, MUTABLE, proto_max_bulk_len, "512mb",
        LIMITS(MIB, INT64_MAX)),
    ROW(MEMORY, "client-query-buffer-limit", NULL, MUTABLE, client_query_buffer_limit, "1gb",
        LIMITS(MIB, INT64_MAX)),
    ROW(BOOL, "activedefrag", NULL, MUTABLE, defrag, "no"),
    ROW(MEMORY, "active-defrag-ignore-bytes", NULL, MUTABLE, defrag_ignore_bytes, "100mb",
        LIMITS(1, INT64_MAX)),
    ROW(INT, "active-defrag-threshold-lower", NULL, MUTABLE, defrag_lower, "10", LIMITS(0, 1000)),
    ROW(INT, "active-defrag-threshold-upper", NULL, MUTABLE, defrag_upper, "100", LIMITS(0, 1000)),
    ROW(INT, "active-defrag-cycle-min", NULL, MUTABLE, defrag_cycle_min, "1", LIMITS(1, 99)),
    ROW(INT, "active-defrag-cycle-max", NULL, MUTABLE, defrag_cycle_max, "25", LIMITS(1, 99)),
    ROW(INT, "active-defrag-cycle-us", NULL, MUTABLE, defrag_cycle_us, "500", LIMITS(0, 100000)),
    ROW(PERCENT, "maxmemory-clients", NULL, MUTABLE, maxmemory_clients, "0",
        LIMITS(-100, INT64_MAX)),
    ROW(LIMITS, "client-output-buffer-limit", NULL, MULTI, output_limits,
        "normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60"),
    ROW(STRING, "requirepass", NULL, SENSITIVE, requirepass, ""),
    ROW(STRING, "aclfile", NULL, IMMUTABLE, aclfile, ""),
    ROW(USER, "user", NULL, FILE_ONLY | MULTI, users, NULL),
    ROW(ENUM, "acl-pubsub-default", NULL, MUTABLE, acl_pubsub_default, "resetchannels",
        WORDS(pubsub_presets)),
    ROW(INT, "acllog-max-len", NULL, MUTABLE, acllog_max_len, "128", LIMITS(0, INT64_MAX)),
    ROW(INT, "tracking-table-max-keys", NULL, MUTABLE, tracking_table_max_keys, "1000000",
        LIMITS(0, INT64_MAX)),

    /* keyspace and memory */
    ROW(INT, "databases", NULL, IMMUTABLE, databases, "16", LIMITS(1, INT32_MAX)),
    ROW(SHARE, "maxmemory", NULL, MUTABLE, maxmemory, "0", LIMITS(-100, INT64_MAX)),
    ROW(ENUM, "maxmemory-policy", NULL, MUTABLE, maxmemory_policy, "noeviction", WORDS(policies)),
    ROW(INT, "maxmemory-samples", NULL, MUTABLE, maxmemory_samples, "5", LIMITS(1, INT32_MAX)),
    ROW(INT, "maxmemory-eviction-tenacity", NULL, MUTABLE, maxmemory_eviction_tenacity, "10",
        LIMITS(0, 100)),
    ROW(INT, "lfu-log-factor", NULL, MUTABLE, lfu_log_factor, "10", LIMITS(0, INT32_MAX)),
    ROW(INT, "lfu-decay-time", NULL, MUTABLE, lfu_decay_time_min, "1", LIMITS(0, INT32_MAX)),
    ROW(INT, "active-expire-effort", NULL, MUTABLE, active_expire_effort, "1", LIMITS(1, 10),
        SOON),
    ROW(BOOL, "lazyfree-lazy-eviction", NULL, MUTABLE, lazyfree_eviction, "no"),
    ROW(BOOL, "lazyfree-lazy-expire", NULL, MUTABLE, lazyfree_expire, "no", SOON),
    ROW(BOOL, "lazyfree-lazy-server-del", NULL, MUTABLE, lazyfree_server_del, "no", SOON),
    ROW(BOOL, "lazyfree-lazy-user-del", NULL, MUTABLE, lazyfree_user_del, "no"),
    ROW(BOOL, "lazyfree-lazy-user-flush", NULL, MUTABLE, lazyfree_user_flush, "no"),
    ROW(EVENTS, "notify-keyspace-events", NULL, MUTABLE, notify_events, ""),

    /* encodings */
    ROW(INT, "hash-max-listpack-entries", "hash-max-ziplist-entries", MUTABLE,
        hash_max_listpack_entries, "512", LIMITS(0, INT64_MAX)),
    ROW(MEMORY, "hash-max-listpack-value", "hash-max-ziplist-value", MUTABLE,
        hash_max_listpack_value, "64", LIMITS(0, INT64_MAX)),
    ROW(INT, "set-max-intset-entries", NULL, MUTABLE, set_max_intset_entries, "512",
        LIMITS(0, INT64_MAX)),
    ROW(INT, "set-max-listpack-entries", NULL, MUTABLE, set_max_listpack_entries, "128",
        LIMITS(0, INT64_MAX)),
    ROW(INT, "set-max-listpack-value", NULL, MUTABLE, set_max_listpack_value, "64",
        LIMITS(0, INT64_MAX)),
    ROW(INT, "zset-max-listpack-entries", "zset-max-ziplist-entries", MUTABLE,
        zset_max_listpack_entries, "128", LIMITS(0, INT64_MAX)),
    ROW(MEMORY, "zset-max-listpack-value", "zset-max-ziplist-value", MUTABLE,
        zset_max_listpack_value, "64", LIMITS(0, INT64_MAX)),
    ROW(INT, "list-max-listpack-size", "list-max-ziplist-size", MUTABLE, list_max_listpack_size,
        "-2", LIMITS(INT32_MIN, INT32_MAX)),
    ROW(INT, "list-compress-depth", NULL, MUTABLE, list_compress_depth, "0", LIMITS(0, INT32_MAX)),
    ROW(MEMORY, "hll-sparse-max-bytes", NULL, MUTABLE, hll_sparse_max_bytes, "3000",
        LIMITS(0, INT64_MAX)),
    ROW(MEMORY, "stream-node-max-bytes", NULL, MUTABLE, stream_node_max_bytes, "4096",
        LIMITS(0, INT64_MAX)),
    ROW(INT, "stream-node-max-entries", NULL, MUTABLE, stream_node_max_entries, "100",
        LIMITS(0, INT64_MAX)),

    /* process */
    ROW(BOOL, "daemonize", NULL, IMMUTABLE, daemonize, "no"),
    ROW(BOOL, "always-show-logo", NULL, IMMUTABLE, always_show_logo, "no", SOON),
    ROW(BOOL, "set-proc-title", NULL, IMMUTABLE, set_proc_title, "yes", SOON),
    ROW(STRING, "proc-title-template", NULL, MUTABLE, proc_title_template,
        "{title} {listen-addr} {server-mode}", OBJECTION(object_to_template), SOON),
    ROW(ENUM, "supervised", NULL, IMMUTABLE, supervised, "no", WORDS(supervisors)),
    ROW(STRING, "pidfile", NULL, IMMUTABLE, pidfile, ""),
    ROW(STRING, "logfile", NULL, IMMUTABLE, logfile, ""),
    ROW(ENUM, "loglevel", NULL, MUTABLE, loglevel, "notice", WORDS(loglevels)),
    ROW(ENUM, "log-format", NULL, MUTABLE, log_format, "legacy", WORDS(log_formats)),
    ROW(ENUM, "log-timestamp-format", NULL, MUTABLE, log_time, "legacy", WORDS(log_times)),
    ROW(BOOL, "syslog-enabled", NULL, IMMUTABLE, syslog_enabled, "no"),
    ROW(STRING, "syslog-ident", NULL, IMMUTABLE, syslog_ident, "redis"),
    ROW(ENUM, "syslog-facility", NULL, IMMUTABLE, syslog_facility, "local0", WORDS(facilities)),
    ROW(STRING, "dir", NULL, PROTECTED, dir, "."),
    ROW(FLAGS, "shutdown-on-sigterm", NULL, MULTI, shutdown_on_sigterm, "default",
        WORDS(shutdowns)),
    ROW(FLAGS, "shutdown-on-sigint", NULL, MULTI, shutdown_on_sigint, "default",
        WORDS(shutdowns)),
    ROW(INT, "shutdown-timeout", NULL, MUTABLE, shutdown_timeout_s, "10", LIMITS(0, INT32_MAX),
        SOON),

    /* administration */
    ROW(ENUM, "enable-debug-command", NULL, IMMUTABLE, enable_debug_command, "no",
        WORDS(guards)),
    ROW(ENUM, "enable-protected-configs", NULL, IMMUTABLE, enable_protected_configs, "no",
        WORDS(guards)),
    ROW(RENAME, "rename-command", NULL, FILE_ONLY | MULTI, rename_command, NULL),
    ROW(INT, "busy-reply-threshold", "lua-time-limit", MUTABLE, busy_reply_threshold_ms, "5000",
        LIMITS(0, INT64_MAX), SOON),
    ROW(INT, "slowlog-log-slower-than", "commandlog-execution-slower-than", MUTABLE,
        slowlog_slower_than_us, "10000", LIMITS(-1, INT64_MAX)),
    ROW(INT, "slowlog-max-len", "commandlog-slow-execution-max-len", MUTABLE, slowlog_max_len,
        "128", LIMITS(0, INT64_MAX)),
    ROW(INT, "commandlog-request-larger-than", NULL, MUTABLE, log_request_larger_than, "1048576",
        LIMITS(-1, INT64_MAX)),
    ROW(INT, "commandlog-reply-larger-than", NULL, MUTABLE, log_reply_larger_than, "1048576",
        LIMITS(-1, INT64_MAX)),
    ROW(INT, "commandlog-large-request-max-len", NULL, MUTABLE, log_request_max_len, "128",
        LIMITS(0, INT64_MAX)),
    ROW(INT, "commandlog-large-reply-max-len", NULL, MUTABLE, log_reply_max_len, "128",
        LIMITS(0, INT64_MAX)),
    ROW(INT, "latency-monitor-threshold", NULL, MUTABLE, latency_monitor_threshold_ms, "0",
        LIMITS(0, INT64_MAX)),
    ROW(BOOL, "hot-keys", NULL, MUTABLE, hot_keys, "yes"),
    ROW(BOOL, "latency-tracking", NULL, MUTABLE, latency_tracking, "yes"),
    ROW(PERCENTILES, "latency-tracking-info-percentiles", NULL, MULTI, latency_percentiles,
        "50 99 99.9"),

    /* persistence and replication: accepted where that loses nothing that was asked for */
    ROW(STRING, "dbfilename", NULL, PROTECTED, dbfilename, "dump.rdb",
        OBJECTION(object_to_dbfilename)),
    ROW(SAVE, "save", NULL, MULTI, save, "3600 1 300 100 60 10000"),
    ROW(BOOL, "stop-writes-on-bgsave-error", NULL, MUTABLE, stop_writes_on_bgsave_error, "yes"),
    ROW(BOOL, "rdb-save-incremental-fsync", NULL, MUTABLE, rdb_save_incremental_fsync, "yes"),
    ROW(MEMORY, "snapshot-memory-limit", NULL, MUTABLE, snapshot_memory_limit, "256mb",
        LIMITS(0, INT64_MAX)),
    ROW(ENUM, "snapshot-layout", NULL, MUTABLE, snapshot_layout, "single", WORDS(layouts)),
    ROW(BOOL, "rdbcompression", NULL, MUTABLE, rdb_compression, "yes"),
    ROW(BOOL, "rdbchecksum", NULL, IMMUTABLE, rdb_checksum, "yes"),
    ROW(BOOL, "appendonly", NULL, MUTABLE, appendonly, "no"),
    ROW(ENUM, "appendfsync", NULL, MUTABLE, appendfsync, "everysec", WORDS(fsyncs)),
    ROW(STRING, "appendfilename", NULL, IMMUTABLE, appendfilename, "appendonly.aof",
        OBJECTION(object_to_appendfilename)),
    ROW(STRING, "appenddirname", NULL, IMMUTABLE, appenddirname, "appendonlydir",
        OBJECTION(object_to_appenddirname)),
    ROW(BOOL, "no-appendfsync-on-rewrite", NULL, MUTABLE, aof_no_fsync_on_rewrite, "no"),
    ROW(BOOL, "aof-load-truncated", NULL, MUTABLE, aof_load_truncated, "yes", SOON),
    ROW(BOOL, "aof-timestamp-enabled", NULL, MUTABLE, aof_timestamps, "no"),
    ROW(INT, "auto-aof-rewrite-percentage", NULL, MUTABLE, aof_rewrite_percentage, "100",
        LIMITS(0, INT32_MAX)),
    ROW(MEMORY, "auto-aof-rewrite-min-size", NULL, MUTABLE, aof_rewrite_min_size, "64mb",
        LIMITS(0, INT64_MAX)),
    ROW(INT, "min-replicas-to-write", "min-slaves-to-write", MUTABLE, min_replicas_to_write, "0",
        LIMITS(0, INT32_MAX), FIXED(why_replication)),
    ROW(INT, "min-replicas-max-lag", "min-slaves-max-lag", MUTABLE, min_replicas_max_lag_s, "10",
        LIMITS(0, INT32_MAX), IGNORED(why_replication)),
};
/* clang-format on */

const size_t directives_honoured_count = ARRAY_COUNT(directives_honoured);
