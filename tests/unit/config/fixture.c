/* Files come from a list in memory. A pattern "NAME*" matches every path that begins with NAME, in
 * the list's order; that is all the tests need of wildcards. Thread: any. */
#include "fixture.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static int fake_read(void *ctx, const char *path, struct buf *out)
{
    for (const struct fake_file *file = ctx; file && file->path; file++) {
        if (strcmp(file->path, path) != 0) continue;
        buf_append_slice(out, slice_str(file->text));
        return 0;
    }
    return -ENOENT;
}

static int fake_glob(void *ctx, const char *pattern, struct buf *out)
{
    size_t len = strcspn(pattern, "*");
    for (const struct fake_file *file = ctx; file && file->path; file++)
        if (strncmp(file->path, pattern, len) == 0)
            buf_append(out, file->path, strlen(file->path) + 1);
    return 0;
}

bool fixture_load(struct config *cfg, struct config_notes *notes, const struct fake_file *files,
                  const char *main_file, int argc, const char *const *argv)
{
    char *words[32] = {(char *)"splitring"};
    int count = 1;
    if (main_file) words[count++] = (char *)main_file;
    for (int i = 0; i < argc; i++) words[count++] = (char *)argv[i];
    struct config_args args;
    struct config_files reader = {(void *)files, fake_read, fake_glob};
    config_parse_args(&args, count, words);
    config_init(cfg);
    bool fine = config_load(cfg, &args, &reader, notes);
    config_args_deinit(&args);
    return fine;
}

bool fixture_load_text(struct config *cfg, struct config_notes *notes, const char *text)
{
    struct fake_file files[] = {{"redis.conf", text}, {0}};
    return fixture_load(cfg, notes, files, "redis.conf", 0, NULL);
}

static void keep_value(void *ctx, struct slice name, struct slice value)
{
    (void)name;
    snprintf(ctx, 4096, "%.*s", (int)value.len, value.len ? value.ptr : "");
}

const char *fixture_get(const struct config *cfg, const char *name)
{
    static char text[4096];
    struct slice pattern = slice_str(name);
    strcpy(text, "(none)");
    config_get(cfg, &pattern, 1, keep_value, text);
    return text;
}

const char *fixture_set(struct config *cfg, const char *name, ...)
{
    static char text[4096];
    struct slice args[16];
    size_t count = 0;
    struct buf error = {0};
    va_list words;
    va_start(words, name);
    for (const char *word = name; word; word = va_arg(words, const char *))
        args[count++] = slice_str(word);
    va_end(words);
    bool fine = config_set(cfg, args, count, true, &error);
    snprintf(text, sizeof text, "%s", fine ? "OK" : fixture_text(&error));
    buf_deinit(&error);
    return text;
}

const char *fixture_text(struct buf *buf)
{
    buf_append_char(buf, 0);
    buf->len--;
    return buf->ptr;
}
