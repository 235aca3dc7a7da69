/* All settings as one value, and the language of redis.conf: files, command line, CONFIG GET, SET
 * and REWRITE. Nothing here opens a file or touches a socket: reading comes in through callbacks,
 * and applying a changed setting (chdir, listening sockets, log level) is the caller's work. Every
 * worker holds a copy of its own, which is replaced as a whole (config_clone).
 * Source: https://redis.io/docs/latest/operate/oss_and_stack/management/config/
 * Thread: owner of the struct; the directive table is constant. */
#ifndef SPLITRING_CONFIG_CONFIG_H
#define SPLITRING_CONFIG_CONFIG_H

#include "splitring/base/buf.h"

/* connection-placement: few busy workers, or connections dealt in turn. */
enum config_placement { CONFIG_PLACEMENT_PACKED, CONFIG_PLACEMENT_SPREAD };
enum config_io_engine { CONFIG_IO_AUTO, CONFIG_IO_URING, CONFIG_IO_EPOLL };
enum config_loglevel {
    CONFIG_LOG_DEBUG, CONFIG_LOG_VERBOSE, CONFIG_LOG_NOTICE, CONFIG_LOG_WARNING, CONFIG_LOG_NOTHING
};
enum config_policy {
    CONFIG_POLICY_NOEVICTION,
    CONFIG_POLICY_VOLATILE_LRU, CONFIG_POLICY_VOLATILE_LFU,
    CONFIG_POLICY_VOLATILE_TTL, CONFIG_POLICY_VOLATILE_RANDOM,
    CONFIG_POLICY_ALLKEYS_LRU, CONFIG_POLICY_ALLKEYS_LFU, CONFIG_POLICY_ALLKEYS_RANDOM
};
enum config_fsync { CONFIG_FSYNC_NO, CONFIG_FSYNC_EVERYSEC, CONFIG_FSYNC_ALWAYS };
/* snapshot-layout: one dump, or a dump per shard with a manifest. */
enum config_layout { CONFIG_LAYOUT_SINGLE, CONFIG_LAYOUT_SHARDS };
enum config_supervised {
    CONFIG_SUPERVISED_NO, CONFIG_SUPERVISED_UPSTART, CONFIG_SUPERVISED_SYSTEMD,
    CONFIG_SUPERVISED_AUTO
};
/* enable-debug-command, enable-protected-configs: `local` = loopback and Unix socket clients. */
enum config_guard { CONFIG_GUARD_NO, CONFIG_GUARD_YES, CONFIG_GUARD_LOCAL };
/* shutdown-on-sigterm, shutdown-on-sigint: a set; 0 is `default`. */
enum config_shutdown {
    CONFIG_SHUTDOWN_SAVE = 1 << 0, CONFIG_SHUTDOWN_NOSAVE = 1 << 1,
    CONFIG_SHUTDOWN_NOW = 1 << 2, CONFIG_SHUTDOWN_FORCE = 1 << 3
};
enum config_tls_auth { CONFIG_TLS_AUTH_NO, CONFIG_TLS_AUTH_YES, CONFIG_TLS_AUTH_OPTIONAL };
enum config_pubsub_default { CONFIG_PUBSUB_RESETCHANNELS, CONFIG_PUBSUB_ALLCHANNELS };
/* notify-keyspace-events, one bit a letter; A = CONFIG_EVENT_ALL. */
enum config_event {
    CONFIG_EVENT_KEYSPACE = 1 << 0,  /* K: __keyspace@<db>__ */
    CONFIG_EVENT_KEYEVENT = 1 << 1,  /* E: __keyevent@<db>__ */
    CONFIG_EVENT_GENERIC = 1 << 2,   /* g */
    CONFIG_EVENT_STRING = 1 << 3,    /* $ */
    CONFIG_EVENT_LIST = 1 << 4,      /* l */
    CONFIG_EVENT_SET = 1 << 5,       /* s */
    CONFIG_EVENT_HASH = 1 << 6,      /* h */
    CONFIG_EVENT_ZSET = 1 << 7,      /* z */
    CONFIG_EVENT_EXPIRED = 1 << 8,   /* x */
    CONFIG_EVENT_EVICTED = 1 << 9,   /* e */
    CONFIG_EVENT_STREAM = 1 << 10,   /* t */
    CONFIG_EVENT_MISS = 1 << 11,     /* m, not in A */
    CONFIG_EVENT_MODULE = 1 << 13,   /* d */
    CONFIG_EVENT_NEW = 1 << 14,      /* n, not in A */
    CONFIG_EVENT_ALL = CONFIG_EVENT_GENERIC | CONFIG_EVENT_STRING | CONFIG_EVENT_LIST |
                       CONFIG_EVENT_SET | CONFIG_EVENT_HASH | CONFIG_EVENT_ZSET |
                       CONFIG_EVENT_EXPIRED | CONFIG_EVENT_EVICTED | CONFIG_EVENT_STREAM |
                       CONFIG_EVENT_MODULE
};

enum config_client_class { /* client-output-buffer-limit */
    CONFIG_CLIENT_NORMAL, CONFIG_CLIENT_REPLICA, CONFIG_CLIENT_PUBSUB, CONFIG_CLIENT_CLASSES
};
struct config_output_limit {
    int64_t hard_bytes, soft_bytes; /* 0: none */
    int64_t soft_s;                 /* over soft_bytes for so long: closed */
};
struct config_save_point {
    int64_t period_s, changes;
};
struct config_save {
    struct config_save_point *points;
    size_t count;
};
struct config_words { /* owned strings */
    char **words;
    size_t count;
};
struct config_percentiles {
    double *values;
    size_t count;
};

#define CONFIG_PLAIN_MAX 192u

/* Strings are never NULL; "" = not set. Bytes and counts are int64_t, small numbers int. */
struct config {
    /* threads and I/O */
    int threads;                 /* 0 = auto: os_cpus_find */
    enum config_io_engine io_engine;
    bool shard_lending, cpu_pinning;
    enum config_placement connection_placement;

    /* listening */
    int port;                    /* 0: no TCP */
    struct config_words bind;    /* "*", "-::*", "127.0.0.1", "-::1": a '-' = may be missing */
    int admin_port;              /* HTTP, tells what goes on; 0: off */
    struct config_words admin_bind;
    int tcp_backlog;
    char *unixsocket;
    int unixsocketperm;          /* 0: leave */
    bool protected_mode;
    int tls_port;                /* 0: no TLS */
    char *tls_cert_file, *tls_key_file, *tls_key_file_pass, *tls_dh_params_file;
    char *tls_ca_cert_file, *tls_ca_cert_dir;
    char *tls_protocols, *tls_ciphers, *tls_ciphersuites;
    enum config_tls_auth tls_auth_clients;
    bool tls_prefer_server_ciphers, tls_session_caching;
    int tls_session_cache_size, tls_session_cache_timeout_s;

    /* clients */
    int64_t maxclients;
    int timeout_s;               /* idle clients; 0: never */
    int tcp_keepalive_s;         /* 0: off */
    int64_t proto_max_bulk_len, client_query_buffer_limit;
    int64_t maxmemory_clients;   /* bytes; < 0: -percent of maxmemory; 0: off */
    struct config_output_limit output_limits[CONFIG_CLIENT_CLASSES];
    char *requirepass;           /* may hold secrets: never log */
    char *aclfile;               /* "": none */
    struct config_words users;   /* `user` lines: name, rules, and "" behind each; in their order */
    int acl_pubsub_default;      /* enum config_pubsub_default */
    int64_t acllog_max_len;
    int64_t tracking_table_max_keys; /* 0: no limit */

    /* keyspace and memory */
    bool defrag;
    int64_t defrag_ignore_bytes;        /* gaps that are worth no work */
    int defrag_lower, defrag_upper;     /* gaps in percent of what is in use: from where on, … */
    int defrag_cycle_min, defrag_cycle_max; /* … and percent of a CPU there */
    int defrag_cycle_us;                /* of one slice */
    int databases;
    int64_t maxmemory;           /* bytes; 0: no limit; < 0: -percent of the memory there is */
    enum config_policy maxmemory_policy;
    int maxmemory_samples, maxmemory_eviction_tenacity;
    int lfu_log_factor, lfu_decay_time_min;
    int active_expire_effort;    /* 1..10 */
    bool lazyfree_eviction, lazyfree_expire, lazyfree_server_del, lazyfree_user_del;
    bool lazyfree_user_flush;
    unsigned notify_events;      /* enum config_event */

    /* encodings */
    int64_t hash_max_listpack_entries, hash_max_listpack_value;
    int64_t set_max_intset_entries, set_max_listpack_entries, set_max_listpack_value;
    int64_t zset_max_listpack_entries, zset_max_listpack_value;
    int list_max_listpack_size;  /* > 0: entries; -1..-5: 4, 8, 16, 32, 64 KiB */
    int list_compress_depth;
    int64_t hll_sparse_max_bytes;
    int64_t stream_node_max_bytes, stream_node_max_entries; /* 0: no limit */

    /* process */
    bool daemonize, always_show_logo, set_proc_title;
    enum config_supervised supervised;
    char *pidfile, *logfile;     /* logfile "": standard output */
    enum config_loglevel loglevel;
    int log_format, log_time;    /* legacy, logfmt, json; legacy, iso8601, milliseconds */
    bool syslog_enabled;
    char *syslog_ident;
    int syslog_facility;         /* 0 to 7: local0 to local7; 8: user */
    char *dir;                   /* as given; main replaces it by the absolute working directory */
    char *proc_title_template;
    unsigned shutdown_on_sigterm, shutdown_on_sigint; /* enum config_shutdown */
    int shutdown_timeout_s;
    char *config_file;           /* no directive: the file of CONFIG REWRITE and INFO; "" none */

    /* administration */
    enum config_guard enable_debug_command, enable_protected_configs;
    struct config_words rename_command; /* from, to, from, to, …; to "" = command removed */
    int64_t busy_reply_threshold_ms;    /* alias lua-time-limit; 0: never BUSY */
    int64_t slowlog_slower_than_us;     /* < 0: off, 0: everything */
    int64_t slowlog_max_len;
    int64_t log_request_larger_than, log_reply_larger_than; /* bytes; < 0: off */
    int64_t log_request_max_len, log_reply_max_len;
    int64_t latency_monitor_threshold_ms; /* 0: off */
    bool latency_tracking;
    bool hot_keys;                      /* samples say which keys are hot */
    struct config_percentiles latency_percentiles;

    /* persistence and replication: partly not yet acted upon (see the directive table) */
    char *dbfilename;
    bool rdb_compression, rdb_checksum;
    bool stop_writes_on_bgsave_error, rdb_save_incremental_fsync;
    int64_t snapshot_memory_limit; /* bytes; 0: none */
    enum config_layout snapshot_layout;
    struct config_save save;
    bool appendonly;
    enum config_fsync appendfsync;
    char *appendfilename, *appenddirname;
    bool aof_no_fsync_on_rewrite, aof_load_truncated, aof_timestamps;
    int64_t aof_rewrite_percentage, aof_rewrite_min_size;
    int min_replicas_to_write, min_replicas_max_lag_s;

    /* config layer only: directives without a field, as text by table row (NULL: the default), and
     * which directives an included file has set. */
    char *plain[CONFIG_PLAIN_MAX];
    uint64_t included[5];
};

void config_init(struct config *cfg);  /* Redis' defaults */
void config_deinit(struct config *cfg);
void config_clone(struct config *out, const struct config *from); /* out is uninitialised before */
/* Replaces an owned string (dir, config_file, …). */
void config_string_set(char **field, const char *text);

/* ---- start ---- */

enum config_action {
    CONFIG_RUN,
    CONFIG_CHECK,       /* --check-config */
    CONFIG_HEALTHCHECK, /* --healthcheck: load, connect, PING, exit 0 or 1 */
    CONFIG_LIVECHECK,   /* --livecheck: the same, LOADING and the like count as answers */
    CONFIG_VERSION,     /* -v, --version */
    CONFIG_HELP         /* -h, --help: print config_usage() */
};
struct config_args {
    enum config_action action;
    const char *file;   /* borrowed from argv; NULL: none */
    bool from_stdin;    /* a lone "-" */
    struct buf options; /* `--port 7000 --save ""` as lines of a configuration file */
    struct buf environment;      /* SPLITRING_PORT=7000 likewise */
    struct buf environment_left; /* names that are no directives, each with a blank before it */
};
/* Redis' reading of [file] [-] [--name value …]; cannot fail, mistakes surface in config_load. */
void config_parse_args(struct config_args *args, int argc, char *const *argv);
/* SPLITRING_<DIRECTIVE>=value, with _ for -: as a line of the file, after the file and before the
 * options. A value of several lines repeats the directive. What Kubernetes adds for a Service of
 * the name splitring (SPLITRING_PORT=tcp://…, SPLITRING_SERVICE_HOST …) is passed over. */
void config_take_environment(struct config_args *args, char *const *environment);
void config_args_deinit(struct config_args *args);
const char *config_usage(void);

/* What the configuration may read. Negative errno on failure (os_file_read fits `read`). */
struct config_files {
    void *ctx;
    int (*read)(void *ctx, const char *path, struct buf *out); /* appends; "-" = standard input */
    /* Appends the matching paths, sorted, each with a final NUL. No match: 0 and nothing. NULL =
     * wildcards in `include` are refused. */
    int (*glob)(void *ctx, const char *pattern, struct buf *out);
};

/* What loading found, in order; for --check-config, the start's log lines and the fatal text. */
struct config_notes {
    struct config_note *notes;
    size_t count, cap;
    struct buf error;  /* text for stderr of the first mistake; empty: none */
};
/* File, standard input and options on top of *cfg (config_init first). With args->action
 * CONFIG_CHECK it goes on after mistakes, to report them all. False: notes->error says why, and
 * *cfg holds what was read until then. */
bool config_load(struct config *cfg, const struct config_args *args,
                 const struct config_files *files, struct config_notes *notes) WARN_UNUSED;
/* --check-config: a line per directive given, then a summary line. */
void config_report(const struct config_notes *notes, struct buf *out);
/* Few lines for the log: which directives were accepted without effect, and why. */
void config_log_notes(const struct config *cfg, const struct config_notes *notes,
                      void (*line)(void *ctx, const char *text), void *ctx);
/* The directive was given, by this name or an alias. */
bool config_given(const struct config_notes *notes, const char *name);
void config_notes_deinit(struct config_notes *notes);

/* ---- CONFIG ---- */

/* Calls pair (may be NULL: counting) once per directive that a pattern matches; returns how many.
 * A pattern without glob characters is answered under the name as the client wrote it. */
size_t config_get(const struct config *cfg, const struct slice *patterns, size_t count,
                  void (*pair)(void *ctx, struct slice name, struct slice value), void *ctx);
/* name, value, name, value, …: all or nothing. False: *error (cleared first) holds the reply's text
 * ("ERR CONFIG SET failed …") and *cfg is as before. Applying is the caller's: clone, set, compare
 * with config_changes, apply, publish; or config_set_failed() and drop the clone. */
bool config_set(struct config *cfg, const struct slice *args, size_t count, bool client_is_local,
                struct buf *error) WARN_UNUSED;
/* The reply's text when the outside world refuses a value: reason e.g. strerror(). */
void config_set_failed(struct buf *error, const char *name, const char *reason);
/* Calls changed with the name of every directive whose value differs; returns how many. */
size_t config_changes(const struct config *before, const struct config *after,
                      void (*changed)(void *ctx, const char *name), void *ctx);
/* For directives that are accepted without effect: why, as a sentence for the log; else NULL. */
const char *config_without_effect(struct slice name);
/* Its values must be hidden from SLOWLOG, MONITOR and logs (requirepass, masterauth, …). */
bool config_is_sensitive(struct slice name);
/* The file's new text: lines stay as they are unless their value changed; what is not in the file
 * and not the default follows under a generated heading. Included files are not looked at. users:
 * the `user` lines that take the place of those in the text; NULL: these stay. */
void config_rewrite(const struct config *cfg, struct slice old_text, struct slice users,
                    struct buf *out);

#endif
