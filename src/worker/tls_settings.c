/* TLS as configured: from the settings to the context that new connections are made of.
 *
 * Worker 0 owns it, because it accepts; the connections it makes go to all workers, each with its
 * own state. CONFIG SET tries the new settings first (a refusal leaves everything as it was), and
 * worker 0 makes the context once more in its turn, so that of two such commands the last one has
 * the last word.
 * Thread: hub_tls_make: any; the rest: the worker's own. */
#include "internal.h"
#include "splitring/io/log.h"
#include "splitring/io/tls.h"

void hub_tls_options(const struct config *c, struct tls_options *out)
{
    static_assert((int)TLS_AUTH_OPTIONAL == (int)CONFIG_TLS_AUTH_OPTIONAL &&
                      (int)TLS_AUTH_YES == (int)CONFIG_TLS_AUTH_YES, "one order");
    *out = (struct tls_options){
        .cert_file = c->tls_cert_file,
        .key_file = c->tls_key_file,
        .key_file_pass = c->tls_key_file_pass,
        .ca_cert_file = c->tls_ca_cert_file,
        .ca_cert_dir = c->tls_ca_cert_dir,
        .dh_params_file = c->tls_dh_params_file,
        .protocols = c->tls_protocols,
        .ciphers = c->tls_ciphers,
        .ciphersuites = c->tls_ciphersuites,
        .auth = (enum tls_auth)c->tls_auth_clients,
        .prefer_server_ciphers = c->tls_prefer_server_ciphers,
        .session_caching = c->tls_session_caching,
        .session_cache_size = c->tls_session_cache_size,
        .session_timeout_s = c->tls_session_cache_timeout_s,
    };
}

struct tls_context *hub_tls_make(const struct config *c)
{
    struct buf why = {0};
    struct tls_options options;
    hub_tls_options(c, &options);
    struct tls_context *context = tls_context_new(&options, &why);
    if (!context) log_line(LOG_LEVEL_WARNING, "%.*s", (int)why.len, why.ptr ? why.ptr : "");
    buf_deinit(&why);
    return context;
}

void worker_use_tls(struct worker *w, struct tls_context *context)
{
    tls_context_free(w->tls);
    w->tls = context;
}
