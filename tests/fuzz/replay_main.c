/* Runs a fuzz target without a fuzzer: over the files of its corpus, then over seeded random
 * mutations of them. For CI, and to reproduce a finding.
 *
 *   fuzz_parse [-n MUTATIONS] [-s SEED] [-o FILE] FILE|FOLDER...
 *
 * With -o every mutated input is written there before it runs, so that it survives a crash. Folders
 * are read in the order of names; the same seed gives the same inputs. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "splitring/base/check.h"
#include "splitring/base/rng.h"

#define INPUT_MAX (256u * 1024u)

struct input {
    uint8_t *data;
    size_t len;
};

static struct input *inputs;
static size_t input_count;

static void add_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    uint8_t *data = malloc(INPUT_MAX);
    check(data);
    size_t len = fread(data, 1, INPUT_MAX, file);
    fclose(file);
    inputs = realloc(inputs, (input_count + 1) * sizeof(*inputs));
    check(inputs);
    inputs[input_count++] = (struct input){data, len};
}

static void add_path(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
        add_file(path);
        return;
    }
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort);
    check(count >= 0);
    for (int i = 0; i < count; i++) {
        if (names[i]->d_name[0] != '.') {
            char full[4096];
            snprintf(full, sizeof(full), "%s/%s", path, names[i]->d_name);
            add_file(full);
        }
        free(names[i]);
    }
    free(names);
}

static size_t insert(uint8_t *data, size_t len, size_t at, const void *text, size_t text_len)
{
    if (len + text_len > INPUT_MAX) return len;
    memmove(data + at + text_len, data + at, len - at);
    memcpy(data + at, text, text_len);
    return len + text_len;
}

/* One small change: a bit, a byte, a piece removed or repeated, a telling word, a piece of another
 * input. Returns the new length. */
static size_t mutate(struct rng *rng, uint8_t *data, size_t len)
{
    static const char *const words[] = {
        "\r\n", "*1\r\n",      "$0\r\n",     "$-1\r\n",         "*-1\r\n", "\"",
        "'",    "\\x",         "$65536\r\n", "*2147483647\r\n", "\r",      "\n",
        "0",    "99999999999", "$65535\r\n", "*1000000\r\n",    " "};
    size_t at = len ? rng_below(rng, len) : 0;
    size_t run = len ? 1 + rng_below(rng, len - at < 64 ? len - at : 64) : 0;
    uint8_t copy[64];
    switch (rng_below(rng, 6)) {
    case 0:
        if (len) data[at] ^= (uint8_t)(1u << rng_below(rng, 8));
        return len;
    case 1:
        if (len) data[at] = (uint8_t)rng_next(rng);
        return len;
    case 2: memmove(data + at, data + at + run, len - at - run); return len - run;
    case 3: memcpy(copy, data + at, run); return insert(data, len, at, copy, run);
    case 4: {
        const char *word = words[rng_below(rng, sizeof(words) / sizeof(words[0]))];
        return insert(data, len, at, word, strlen(word));
    }
    default: {
        const struct input *other = &inputs[rng_below(rng, input_count)];
        if (!other->len) return len;
        size_t from = rng_below(rng, other->len), most = other->len - from;
        if (most > 300) most = 300;
        return insert(data, len, at, other->data + from, 1 + rng_below(rng, most));
    }
    }
}

static void save(const char *path, const uint8_t *data, size_t len)
{
    FILE *file = fopen(path, "wb");
    check(file && fwrite(data, 1, len, file) == len);
    fclose(file);
}

int main(int argc, char **argv)
{
    uint64_t mutations = 0, seed = 1;
    const char *out = NULL;
    for (int option; (option = getopt(argc, argv, "n:s:o:")) != -1;) {
        if (option == 'n') mutations = strtoull(optarg, NULL, 10);
        if (option == 's') seed = strtoull(optarg, NULL, 10);
        if (option == 'o') out = optarg;
        if (option == '?') return 2;
    }
    for (int i = optind; i < argc; i++) add_path(argv[i]);
    for (size_t i = 0; i < input_count; i++) LLVMFuzzerTestOneInput(inputs[i].data, inputs[i].len);
    if (input_count == 0) {
        fprintf(stderr, "no input files\n");
        return 2;
    }

    struct rng rng;
    rng_seed(&rng, seed);
    uint8_t *work = malloc(INPUT_MAX);
    check(work);
    for (uint64_t i = 0; i < mutations; i++) {
        const struct input *base = &inputs[rng_below(&rng, input_count)];
        size_t len = base->len;
        memcpy(work, base->data, len);
        for (uint64_t steps = 1 + rng_below(&rng, 8); steps > 0; steps--) {
            len = mutate(&rng, work, len);
        }
        if (out) save(out, work, len);
        uint8_t *exact = malloc(len ? len : 1); /* so that a read past the end is seen */
        check(exact);
        memcpy(exact, work, len);
        LLVMFuzzerTestOneInput(exact, len);
        free(exact);
    }
    printf("%zu inputs, %llu mutations, seed %llu\n", input_count, (unsigned long long)mutations,
           (unsigned long long)seed);
    free(work);
    for (size_t i = 0; i < input_count; i++) free(inputs[i].data);
    free(inputs);
    return 0;
}
