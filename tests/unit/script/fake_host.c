/* See fake_host.h. */
#include "fake_host.h"

#include <string.h>

static bool fake_call(void *ctx, struct slice *argv, int argc, uint8_t proto, struct buf *out)
{
    struct fake_host *h = ctx;
    for (int i = 0; i < argc; i++) {
        if (i) buf_append_char(&h->calls, ' ');
        buf_append_slice(&h->calls, argv[i]);
    }
    buf_append_char(&h->calls, '|');
    if (++h->call_count == h->stop_at_call) return false;
    if (slice_is_word(argv[0], "STOP")) return false;
    struct reply r = {.out = out, .proto = proto};
    if (slice_is_word(argv[0], "PING")) {
        reply_simple(&r, "PONG");
    } else if (slice_is_word(argv[0], "ECHO") && argc == 2) {
        reply_bulk_slice(&r, argv[1]);
    } else if (slice_is_word(argv[0], "ERROR") && argc == 2) {
        reply_error_text(&r, argv[1].ptr, argv[1].len);
    } else if (slice_is_word(argv[0], "RESP") && argc == 2) {
        buf_append_slice(out, argv[1]);
    } else if (slice_is_word(argv[0], "VERSION")) {
        reply_int(&r, proto);
    } else if (slice_is_word(argv[0], "NIL")) {
        reply_null(&r);
    } else {
        reply_int(&r, argc);
    }
    return true;
}

static enum script_pulse fake_pulse(void *ctx)
{
    struct fake_host *h = ctx;
    h->pulses++;
    if (h->kill_at && h->pulses >= h->kill_at) return SCRIPT_KILL;
    if (h->give_up_at && h->pulses >= h->give_up_at) return SCRIPT_KILL;
    if (h->pause_every && h->pulses % h->pause_every == 0) return SCRIPT_PAUSE;
    return SCRIPT_GO_ON;
}

static void fake_log(void *ctx, enum script_log_level level, struct slice text)
{
    struct fake_host *h = ctx;
    buf_printf(&h->log, "%d:", (int)level);
    buf_append_slice(&h->log, text);
    buf_append_char(&h->log, '|');
}

static int fake_acl_check(void *ctx, struct slice *argv, int argc)
{
    (void)ctx, (void)argc;
    return slice_is_word(argv[0], "PING") ? 1 : slice_is_word(argv[0], "DENIED") ? 0 : -1;
}

const struct script_host fake_host_face = {fake_call, fake_pulse, fake_log, fake_acl_check};

void fake_host_init(struct fake_host *h)
{
    *h = (struct fake_host){.proto = 2, .vm = script_vm_new()};
}

void fake_host_deinit(struct fake_host *h)
{
    script_vm_free(h->vm);
    buf_deinit(&h->calls);
    buf_deinit(&h->log);
    buf_deinit(&h->reply);
}

static int slices(const char *const *texts, struct slice *out)
{
    int count = 0;
    while (texts && texts[count]) {
        out[count] = slice_str(texts[count]);
        count++;
    }
    return count;
}

const char *fake_host_eval_with(struct fake_host *h, const char *text, const char *const *keys,
                                const char *const *args)
{
    struct slice key_slices[32], arg_slices[32];
    int key_count = slices(keys, key_slices), arg_count = slices(args, arg_slices);
    h->reply.len = 0;
    h->calls.len = 0;
    h->log.len = 0;
    h->pulses = h->call_count = h->pauses = 0;
    struct buf error = {0};
    struct script *script = script_load(h->vm, slice_str(text), &error);
    if (script == NULL) {
        buf_append_char(&h->reply, '-');
        buf_append(&h->reply, error.ptr, error.len);
    } else {
        struct reply out = {.out = &h->reply, .proto = h->proto};
        struct script_run *run;
        enum script_outcome outcome = script_start(h->vm, script, key_slices, key_count, arg_slices,
                                                   arg_count, &fake_host_face, h, &out, &run);
        while (outcome == SCRIPT_PAUSED) {
            h->pauses++;
            outcome = script_resume(run, &out);
        }
        if (outcome == SCRIPT_STOPPED) buf_append(&h->reply, "STOPPED", 7);
        h->errors = out.errors;
    }
    buf_deinit(&error);
    buf_append_char(&h->calls, '\0');
    buf_append_char(&h->log, '\0');
    buf_append_char(&h->reply, '\0');
    return h->reply.ptr;
}

const char *fake_host_eval(struct fake_host *h, const char *text)
{
    return fake_host_eval_with(h, text, NULL, NULL);
}
