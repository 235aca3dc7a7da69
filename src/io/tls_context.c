/* Settings become an SSL_CTX, and an SSL_CTX the state of a connection.
 *
 *   tls-* of redis.conf ──▶ struct tls_options ──▶ SSL_CTX ──(one per connection)──▶ SSL
 *                                                             │ its BIO: the window of struct tls
 *
 * A context never changes once it is made: new settings make a new one, so a bad file leaves the
 * old one at work, and connections keep what they were made of (OpenSSL counts references). One
 * context serves all workers, and with it one cache of sessions and one set of ticket keys.
 *
 * OpenSSL never sees a socket: its BIO reads from the bytes that the engine has received and writes
 * into a buffer. Two copies of at most one record; in exchange both engines stay what they are.
 * Why not OpenSSL's memory BIOs? They would hold a copy of their own for each connection and grow
 * with it.
 *
 * What a client could abuse is off: renegotiation, compression, early data.
 * Thread: any; an SSL is its connection's. */
#include <openssl/crypto.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <strings.h>

#include "splitring/base/check.h"
#include "splitring/base/mem.h"
#include "tls.h"

/* ---- OpenSSL's surroundings ---- */

static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;
static BIO_METHOD *bio_method;

static void *give_memory(size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    return mem_try_alloc(len);
}

static void *move_memory(void *ptr, size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    if (len) return mem_try_realloc(ptr, len);
    mem_free(ptr);
    return NULL;
}

static void take_memory(void *ptr, const char *file, int line)
{
    (void)file;
    (void)line;
    mem_free(ptr);
}

static int bio_read(BIO *bio, char *out, size_t len, size_t *got)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *got = len < tls->in_len ? len : tls->in_len;
    if (*got == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(out, tls->in, *got);
    tls->in += *got;
    tls->in_len -= *got;
    return 1;
}

static int bio_write(BIO *bio, const char *ptr, size_t len, size_t *written)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    buf_append(tls->out, ptr, len);
    *written = len;
    return !tls->out->failed;
}

static long bio_ctrl(BIO *bio, int what, long number, void *ptr)
{
    (void)bio;
    (void)number;
    (void)ptr;
    return what == BIO_CTRL_FLUSH; /* the rest does not concern a window */
}

static void start(void)
{
    (void)CRYPTO_set_mem_functions(give_memory, move_memory, take_memory);
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "window");
    check(bio_method && BIO_meth_set_read_ex(bio_method, bio_read) &&
          BIO_meth_set_write_ex(bio_method, bio_write) && BIO_meth_set_ctrl(bio_method, bio_ctrl));
}

BIO *tls_bio_new(struct tls *tls)
{
    BIO *bio = BIO_new(bio_method);
    if (!bio) return NULL;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    return bio;
}

void tls_error_text(char *out, size_t cap)
{
    ERR_error_string_n(ERR_get_error(), out, cap);
    ERR_clear_error();
}

/* ---- settings ---- */

static bool refuse(struct buf *why, const char *what, const char *file)
{
    char reason[256];
    tls_error_text(reason, sizeof reason);
    if (file)
        buf_printf(why, "%s: %s: %s", what, file, reason);
    else
        buf_printf(why, "%s: %s", what, reason);
    return false;
}

/* The versions that are named; none named: 1.2 and 1.3. */
static bool set_protocols(SSL_CTX *ctx, const char *text, struct buf *why)
{
    static const struct {
        const char *name;
        uint64_t without;
    } versions[] = {{"TLSv1", SSL_OP_NO_TLSv1},
                    {"TLSv1.1", SSL_OP_NO_TLSv1_1},
                    {"TLSv1.2", SSL_OP_NO_TLSv1_2},
                    {"TLSv1.3", SSL_OP_NO_TLSv1_3}};
    uint64_t without = SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1 | SSL_OP_NO_TLSv1_2 | SSL_OP_NO_TLSv1_3;
    if (!text[0]) text = "TLSv1.2 TLSv1.3";
    for (size_t len; text += strspn(text, " "), (len = strcspn(text, " ")) > 0; text += len) {
        bool known = false;
        for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
            if (strlen(versions[i].name) != len || strncasecmp(text, versions[i].name, len) != 0)
                continue;
            without &= ~versions[i].without;
            known = true;
        }
        if (known) continue;
        buf_append_slice(why, SLICE("Invalid tls-protocols specified. Use a combination of "
                                    "'TLSv1', 'TLSv1.1', 'TLSv1.2' and 'TLSv1.3'."));
        return false;
    }
    SSL_CTX_set_options(ctx, without);
    return true;
}

/* Without this OpenSSL would ask at the terminal. */
static int on_password(char *out, int cap, int writing, void *pass)
{
    const char *text = pass;
    size_t len = strlen(text);
    (void)writing;
    if (!len || cap < 0 || len > (size_t)cap) return -1;
    memcpy(out, text, len);
    return (int)len;
}

static bool set_certificate(SSL_CTX *ctx, const struct tls_options *o, struct buf *why)
{
    SSL_CTX_set_default_passwd_cb(ctx, on_password);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, (void *)(uintptr_t)o->key_file_pass);
    bool fine = true;
    if (SSL_CTX_use_certificate_chain_file(ctx, o->cert_file) <= 0)
        fine = refuse(why, "Failed to load certificate", o->cert_file);
    else if (SSL_CTX_use_PrivateKey_file(ctx, o->key_file, SSL_FILETYPE_PEM) <= 0)
        fine = refuse(why, "Failed to load private key", o->key_file);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL); /* it was the caller's */
    return fine;
}

static bool set_dh_params(SSL_CTX *ctx, const char *file, struct buf *why)
{
    if (!file[0]) return SSL_CTX_set_dh_auto(ctx, 1) > 0 || refuse(why, "Failed to set DH", NULL);
    EVP_PKEY *params = NULL;
    BIO *bio = BIO_new_file(file, "r");
    if (bio) params = PEM_read_bio_Parameters(bio, NULL);
    BIO_free(bio);
    if (params && SSL_CTX_set0_tmp_dh_pkey(ctx, params) > 0) return true;
    EVP_PKEY_free(params);
    return refuse(why, "Failed to load DH params file", file);
}

static bool set_clients(SSL_CTX *ctx, const struct tls_options *o, struct buf *why)
{
    const char *file = o->ca_cert_file[0] ? o->ca_cert_file : NULL;
    const char *dir = o->ca_cert_dir[0] ? o->ca_cert_dir : NULL;
    int mode = SSL_VERIFY_NONE;
    if (o->auth != TLS_AUTH_NO) mode = SSL_VERIFY_PEER;
    if (o->auth == TLS_AUTH_YES) mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(ctx, mode, NULL);
    if ((!file && !dir) || SSL_CTX_load_verify_locations(ctx, file, dir) > 0) return true;
    return refuse(why, "Failed to configure CA certificate(s) file/directory", NULL);
}

/* Sessions of TLS 1.2 lie in the cache; those of 1.3, and of clients that know tickets, lie with
 * the client, encrypted. */
static void set_sessions(SSL_CTX *ctx, const struct tls_options *o)
{
    static const unsigned char id[] = "splitring";
    SSL_CTX_set_session_cache_mode(ctx,
                                   o->session_caching ? SSL_SESS_CACHE_SERVER : SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(ctx, id, sizeof id - 1);
    if (!o->session_caching) return;
    SSL_CTX_sess_set_cache_size(ctx, o->session_cache_size);
    SSL_CTX_set_timeout(ctx, o->session_timeout_s);
}

static bool configure(SSL_CTX *ctx, const struct tls_options *o, struct buf *why)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_SINGLE_DH_USE | SSL_OP_NO_SSLv3);
    if (o->prefer_server_ciphers) SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    set_sessions(ctx, o);
    if (!set_protocols(ctx, o->protocols, why) || !set_certificate(ctx, o, why) ||
        !set_clients(ctx, o, why))
        return false;
    if (o->ciphers[0] && !SSL_CTX_set_cipher_list(ctx, o->ciphers))
        return refuse(why, "Failed to configure ciphers", o->ciphers);
    if (o->ciphersuites[0] && !SSL_CTX_set_ciphersuites(ctx, o->ciphersuites))
        return refuse(why, "Failed to configure ciphersuites", o->ciphersuites);
    return set_dh_params(ctx, o->dh_params_file, why);
}

struct tls_context *tls_context_new(const struct tls_options *o, struct buf *why)
{
    check(CRYPTO_THREAD_run_once(&once, start));
    const char *missing = NULL;
    if (!o->cert_file[0])
        missing = "No tls-cert-file configured!";
    else if (!o->key_file[0])
        missing = "No tls-key-file configured!";
    else if (o->auth != TLS_AUTH_NO && !o->ca_cert_file[0] && !o->ca_cert_dir[0])
        missing = "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when tls-cluster, "
                  "tls-replication or tls-auth-clients are enabled!";
    if (missing) {
        buf_append(why, missing, strlen(missing));
        return NULL;
    }
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    bool fine = ctx ? configure(ctx, o, why) : refuse(why, "Failed to make a TLS context", NULL);
    ERR_clear_error(); /* successes leave complaints behind, too */
    if (fine) return (struct tls_context *)ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

void tls_context_free(struct tls_context *context)
{
    SSL_CTX_free((SSL_CTX *)context);
}

/* ---- a connection ---- */

struct tls *tls_new(struct tls_context *context, int fd)
{
    struct tls *tls = mem_try_zalloc(sizeof *tls);
    if (!tls) return NULL;
    tls->fd = fd;
    list_init(&tls->link);
    tls->ssl = SSL_new((SSL_CTX *)context);
    BIO *bio = tls->ssl ? tls_bio_new(tls) : NULL;
    if (!bio) {
        ERR_clear_error();
        tls_free(tls);
        return NULL;
    }
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_accept_state(tls->ssl);
    return tls;
}

void tls_free(struct tls *tls)
{
    if (!tls) return;
    list_remove(&tls->link);
    SSL_free(tls->ssl);
    buf_deinit(&tls->pending);
    buf_deinit(&tls->held);
    mem_free(tls);
}

int tls_fd(const struct tls *tls)
{
    return tls->fd;
}
