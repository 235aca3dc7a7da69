/* What tools do with dumps: reading them with a progress bar, and making one key at a time in a
 * shard of their own.
 * Thread: main. */
#include <stdio.h>

#include "splitring/base/mem.h"
#include "splitring/io/file.h"
#include "splitring/io/os.h"
#include "tool.h"

/* ---- the bar ---- */

void bar_show(struct bar *bar, uint64_t done)
{
    enum { WIDTH = 40 };
    static const char full[] = "########################################";
    if (!bar->on || (done - bar->shown < bar->total / 200 + 1 && done != bar->total)) return;
    bar->shown = done;
    int filled = (int)(done * WIDTH / (bar->total + 1));
    fprintf(stderr, "\r[%-*.*s] %3.0f %% %s", WIDTH, filled, full,
            (double)done * 100 / (double)(bar->total + 1), bar->path);
}

void bar_end(struct bar *bar)
{
    if (bar->on) fprintf(stderr, "\r\033[K");
}

/* ---- reading ---- */

bool input_open(struct input *input, const char *path, const struct options *o)
{
    *input = (struct input){.path = path, .program = o->program,
                            .bar = {.path = path, .on = !o->quiet && file_is_terminal(2)}};
    input->fd = file_open(path, &input->size);
    if (input->fd < 0) {
        fprintf(stderr, "%s: %s: %s\n", o->program, path, os_error_text(input->fd));
        return false;
    }
    input->bar.total = input->size;
    struct rdb_in_options options = {.read = rdb_disk_read, .ctx = &input->fd,
                                     .size = input->size, .databases = DATABASES_MAX};
    input->in = rdb_in_new(&options);
    return true;
}

bool input_ok(struct input *input, int rc, enum exit_code *code)
{
    if (rc == 0 || rc == RDB_E_EMPTY || rc == RDB_E_TWICE) return true;
    bar_end(&input->bar);
    fprintf(stderr, "%s: %s: %s\n", input->program, input->path, rdb_in_error(input->in));
    *code = rc < 0 ? EXIT_ENVIRONMENT : EXIT_DAMAGED;
    return false;
}

bool input_next(struct input *input, struct rdb_item *item, enum exit_code *code)
{
    bar_show(&input->bar, rdb_in_offset(input->in));
    int rc = rdb_in_next(input->in, item);
    return input_ok(input, rc, code) && item->kind != RDB_ITEM_END;
}

void input_close(struct input *input)
{
    bar_end(&input->bar);
    rdb_in_free(input->in);
    (void)file_close(input->fd);
}

/* ---- values ---- */

void scratch_init(struct scratch *s)
{
    struct shard_options options = {.databases = 1, .seed = os_entropy64()};
    *s = (struct scratch){
        .shard = shard_new(&options),
        .limits = {.hash = {512, 64}, .set = {512, 128, 64}, .zset = {128, 64}, .list_fill = -2}};
    /* A time at which nothing has expired: everything in the file is shown. */
    s->ks = (struct ks){.shard = s->shard, .flags = KS_SILENT | KS_LOGICAL | KS_NO_STATS};
}

void scratch_deinit(struct scratch *s) { shard_free(s->shard); }

const struct entry *scratch_take(struct scratch *s, struct input *input,
                                 const struct rdb_item *item, int *rc)
{
    struct rdb_item plain = *item;
    plain.expire = EXPIRE_NONE;
    *rc = rdb_in_put(input->in, &s->ks, &s->limits, &plain);
    return *rc == 0 ? ks_peek(&s->ks, item->key) : NULL;
}

void scratch_drop(struct scratch *s, const struct rdb_item *item)
{
    (void)ks_delete(&s->ks, item->key, false);
    while (shard_free_step(s->shard, SIZE_MAX) != 0) continue;
}
