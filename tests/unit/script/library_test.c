/* Libraries: their first line, what they register, sets of them, and how a VM comes to have their
 * functions. Error texts are those of redis-server 7.0.15 for the same libraries. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "fake_host.h"
#include "splitring/script/library.h"

#define HEAD "#!lua name=l\n"
#define REGISTER(name, body) \
    "redis.register_function('" name "', function(keys, args) " body " end)\n"

static struct library *load(struct fake_host *h, const char *text, struct buf *error)
{
    struct library_head head;
    struct library *library = NULL;
    h->pulses = 0;
    error->len = 0;
    if (library_head_parse(slice_str(text), &head, error)) {
        library = script_library_load(h->vm, &head, slice_str(text), &fake_host_face, h, error);
        library_head_deinit(&head);
    }
    if (!library) buf_append_char(error, '\0');
    return library;
}

static void expect_error(const char *text, const char *expected)
{
    struct fake_host h;
    struct buf error = {0};
    fake_host_init(&h);
    h.kill_at = 1000;
    struct library *library = load(&h, text, &error);
    cr_expect_null(library, "%s", text);
    if (!library) cr_expect_str_eq(error.ptr, expected, "%s: %s", text, error.ptr);
    library_unref(library);
    buf_deinit(&error);
    fake_host_deinit(&h);
}

/* A set of libraries by their texts, in use by h's VM. */
static struct library_set *use(struct fake_host *h, const char *const *texts, size_t count)
{
    struct library *items[8];
    struct buf error = {0};
    for (size_t i = 0; i < count; i++) {
        items[i] = load(h, texts[i], &error);
        cr_assert_not_null(items[i], "%s", error.ptr);
    }
    struct library_set *set = library_set_new(items, count, &error);
    cr_assert_not_null(set);
    cr_assert(script_libraries_use(h->vm, set));
    buf_deinit(&error);
    return set;
}

static const char *call(struct fake_host *h, const char *name)
{
    struct slice key = SLICE("k1"), args[] = {SLICE("a1"), SLICE("a2")};
    struct buf error = {0};
    struct script *script =
        script_function_find(h->vm, slice_str(name), &fake_host_face, h, &error);
    buf_deinit(&error);
    struct reply out = {.out = &h->reply, .proto = h->proto};
    struct script_run *run;
    if (!script) return "none";
    h->reply.len = 0;
    h->pulses = 0;
    enum script_outcome outcome = script_start(h->vm, script, &key, 1, args, 2, &fake_host_face, h,
                                               &out, &run);
    while (outcome == SCRIPT_PAUSED) outcome = script_resume(run, &out);
    buf_append_char(&h->reply, '\0');
    return h->reply.ptr;
}

Test(library, first_line)
{
    static const struct {
        const char *text, *error;
    } samples[] = {
        {"", "ERR Missing library metadata"},
        {"return 1", "ERR Missing library metadata"},
        {"#!lua name=x", "ERR Invalid library metadata"},
        {"#!lua\nreturn", "ERR Library name was not given"},
        {"#!\nx", "ERR Library name was not given"},
        {"#!lua name=x name=y\nx",
         "ERR Invalid metadata value, name argument was given multiple times"},
        {"#!lua name=x foo\n", "ERR Invalid metadata value given: foo"},
        {"#! lua name=x\n", "ERR Invalid metadata value given: lua"},
        {"#!lua2 name=x\n", "ERR Engine 'lua2' not found"},
        {"#!lua name='x\n", "ERR Invalid library metadata"},
        {"#!lua 'name'=x\n", "ERR Invalid library metadata"},
        {"#!lua name=a-b\n", "ERR Library names can only contain letters, numbers, or "
                             "underscores(_) and must be at least one character long"},
        {"#!lua name=\n", "ERR Library names can only contain letters, numbers, or "
                          "underscores(_) and must be at least one character long"},
        {"#!LUA name=x\nlocal a", "ERR No functions registered"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(samples); i++) {
        expect_error(samples[i].text, samples[i].error);
    }
}

#define FAILED "ERR Error registering functions: ERR "

Test(library, refusals)
{
    static const struct {
        const char *body, *error;
    } samples[] = {
        {"foo bar", "ERR Error compiling function: user_function:2: '=' expected near 'bar'"},
        {"redis.register_function()",
         FAILED "wrong number of arguments to redis.register_function"},
        {"redis.register_function('f')",
         FAILED "calling redis.register_function with a single argument is only applicable to Lua "
                "table (representing named arguments)."},
        {"redis.register_function('f', 1)",
         FAILED "second argument to redis.register_function must be a function"},
        {"redis.register_function({}, {})",
         FAILED "first argument to redis.register_function must be a string"},
        {"redis.register_function('f-x', function() end)",
         FAILED "Library names can only contain letters, numbers, or underscores(_) and must be at "
                "least one character long"},
        {"for i = 1, 2 do redis.register_function('f', function() end) end",
         FAILED "Function already exists in the library"},
        {"redis.register_function{}",
         FAILED "redis.register_function must get a function name argument"},
        {"redis.register_function{function_name='f'}",
         FAILED "redis.register_function must get a callback argument"},
        {"redis.register_function{function_name='f', callback=1}",
         FAILED "callback argument given to redis.register_function must be a function"},
        {"redis.register_function{function_name='f', callback=function() end, flags='x'}",
         FAILED "flags argument to redis.register_function must be a table representing function "
                "flags"},
        {"redis.register_function{function_name='f', callback=function() end, flags={'x'}}",
         FAILED "unknown flag given"},
        {"redis.register_function{function_name='f', callback=function() end, foo=1}",
         FAILED "unknown argument given to redis.register_function"},
        {"redis.register_function{[true]=1}",
         FAILED "named argument key given to redis.register_function is not a string"},
        {"redis.call('ping')",
         FAILED "user_function:2: Script attempted to access nonexistent global variable 'call'"},
        {"pcall()",
         FAILED "user_function:2: Script attempted to access nonexistent global variable 'pcall'"},
        {"a = 1", FAILED "user_function:2: Attempt to modify a readonly table"},
        {"redis.x = 1", FAILED "user_function:2: Attempt to modify a readonly table"},
        {"local x; x()", FAILED "user_function:2: attempt to call local 'x' (a nil value)"},
        {"while true do end", FAILED "FUNCTION LOAD timeout"},
    };
    char text[512];
    for (size_t i = 0; i < ARRAY_COUNT(samples); i++) {
        snprintf(text, sizeof(text), HEAD "%s", samples[i].body);
        expect_error(text, samples[i].error);
    }
}

Test(library, what_it_registers)
{
    struct fake_host h;
    struct buf error = {0};
    fake_host_init(&h);
    struct library *library = load(
        &h,
        HEAD "redis.register_function('one', function() end)\n"
             "redis.register_function{function_name='two', callback=function() end,"
             " description='text', flags={'no-writes', 'Allow-OOM'}}\n"
             "redis.log(redis.LOG_WARNING, 'loading')",
        &error);
    cr_assert_not_null(library);
    cr_expect(slice_equal(library->name, SLICE("l")));
    cr_assert_eq(library->function_count, 2);
    cr_expect(slice_equal(library->functions[0].name, SLICE("one")));
    cr_expect_null(library->functions[0].description.ptr);
    cr_expect_eq(library->functions[0].flags, 0);
    cr_expect(slice_equal(library->functions[1].name, SLICE("two")));
    cr_expect(slice_equal(library->functions[1].description, SLICE("text")));
    cr_expect_eq(library->functions[1].flags, SCRIPT_NO_WRITES | SCRIPT_ALLOW_OOM);
    cr_expect(slice_equal(buf_slice(&h.log), SLICE("3:loading|")));
    library_unref(library);
    buf_deinit(&error);
    fake_host_deinit(&h);
}

Test(library, functions_run)
{
    struct fake_host h;
    fake_host_init(&h);
    const char *const texts[] = {
        "#!lua name=one\nlocal n = 0\n"
        REGISTER("args", "return {keys[1], args[1], args[2]}")
        REGISTER("count", "n = n + 1 return n")
        REGISTER("ping", "return redis.call('PING')"),
        "#!lua name=two\n"
        REGISTER("globals", "return {type(pcall), type(string), type(redis.sha1hex)}")
        REGISTER("keys", "return KEYS")
        REGISTER("set", "x = 1")
        REGISTER("again", "redis.register_function('g', function() end)")
        REGISTER("debug", "return redis.breakpoint")
        "local kept = redis.register_function "
        REGISTER("kept", "local r = kept('g', function() end) return r")};
    struct library_set *set = use(&h, texts, 2);
    cr_expect_eq(set->function_count, 9);
    cr_expect_str_eq(call(&h, "args"), "*3\r\n$2\r\nk1\r\n$2\r\na1\r\n$2\r\na2\r\n");
    cr_expect_str_eq(call(&h, "count"), ":1\r\n");
    cr_expect_str_eq(call(&h, "count"), ":2\r\n");
    cr_expect_str_eq(call(&h, "ping"), "+PONG\r\n");
    cr_expect_str_eq(call(&h, "globals"),
                     "*3\r\n$8\r\nfunction\r\n$5\r\ntable\r\n$8\r\nfunction\r\n");
    cr_expect_str_eq(call(&h, "keys"),
                     "-ERR user_function:3: Script attempted to access nonexistent global variable "
                     "'KEYS' script: keys, on @user_function:3.\r\n");
    cr_expect_str_eq(call(&h, "set"),
                     "-ERR user_function:4: Attempt to modify a readonly table script: set, on "
                     "@user_function:4.\r\n");
    cr_expect_str_eq(call(&h, "again"),
                     "-ERR user_function:5: attempt to call field 'register_function' (a nil "
                     "value) script: again, on @user_function:5.\r\n");
    cr_expect_str_eq(call(&h, "kept"),
                     "-ERR redis.register_function can only be called on FUNCTION LOAD command "
                     "script: kept, on @user_function:7.\r\n");
    cr_expect_str_eq(call(&h, "debug"), "$-1\r\n");
    cr_expect_str_eq(call(&h, "missing"), "none");
    script_vm_free(h.vm);
    h.vm = NULL;
    library_set_unref(set);
    fake_host_deinit(&h);
}

/* A library that stays keeps its locals; a new one takes its place whole; one that goes is gone. */
Test(library, sets_change)
{
    struct fake_host h;
    struct buf error = {0};
    fake_host_init(&h);
    const char *const texts[] = {
        "#!lua name=one\nlocal n = 0\n" REGISTER("count", "n = n + 1 return n"),
        "#!lua name=two\n" REGISTER("two", "return 2")};
    struct library_set *first = use(&h, texts, 2);
    cr_expect_str_eq(call(&h, "count"), ":1\r\n");
    const char *text = "#!lua name=two\n" REGISTER("deux", "return 'deux'");
    struct library *item = load(&h, text, &error);
    struct library_set *more = library_set_new(&item, 1, &error);
    cr_expect_null(library_set_join(first, more, false, &error));
    cr_expect(slice_equal(buf_slice(&error), SLICE("ERR Library two already exists")));
    struct library_set *second = library_set_join(first, more, true, &error);
    cr_assert(script_libraries_use(h.vm, second));
    library_set_unref(first);
    library_set_unref(more);
    cr_expect_str_eq(call(&h, "count"), ":2\r\n");
    cr_expect_str_eq(call(&h, "two"), "none");
    cr_expect_str_eq(call(&h, "deux"), "$4\r\ndeux\r\n");
    struct library_set *third = library_set_without(second, SLICE("one"));
    cr_assert(script_libraries_use(h.vm, third));
    library_set_unref(second);
    cr_expect_str_eq(call(&h, "count"), "none");
    cr_expect_str_eq(call(&h, "deux"), "$4\r\ndeux\r\n");
    cr_expect_not_null(library_set_find(third, SLICE("two")));
    cr_expect_null(library_set_find(third, SLICE("one")));
    script_vm_free(h.vm);
    h.vm = NULL;
    library_set_unref(third);
    buf_deinit(&error);
    fake_host_deinit(&h);
}

Test(library, names_are_unique)
{
    struct fake_host h;
    struct buf error = {0};
    fake_host_init(&h);
    struct library *items[2] = {load(&h, "#!lua name=a\n" REGISTER("f", ""), &error),
                                load(&h, "#!lua name=b\n" REGISTER("f", ""), &error)};
    cr_expect_null(library_set_new(items, 2, &error));
    cr_expect(slice_equal(buf_slice(&error), SLICE("ERR Function f already exists")));
    error.len = 0;
    library_unref(items[1]);
    items[1] = load(&h, "#!lua name=a\n" REGISTER("g", ""), &error);
    cr_expect_null(library_set_new(items, 2, &error));
    cr_expect(slice_equal(buf_slice(&error), SLICE("ERR Library 'a' already exists")));
    library_unref(items[0]);
    library_unref(items[1]);
    buf_deinit(&error);
    fake_host_deinit(&h);
}

/* A function that has paused ends as it began, though its library goes meanwhile. */
Test(library, replaced_while_it_runs)
{
    struct fake_host h;
    fake_host_init(&h);
    const char *const texts[] = {
        HEAD REGISTER("slow", "for i = 1, 1e6 do end return 'old'")};
    struct library_set *set = use(&h, texts, 1);
    struct reply out = {.out = &h.reply, .proto = 2};
    struct script_run *run;
    struct buf error = {0};
    struct script *script =
        script_function_find(h.vm, SLICE("slow"), &fake_host_face, &h, &error);
    h.pause_every = 2;
    enum script_outcome outcome =
        script_start(h.vm, script, NULL, 0, NULL, 0, &fake_host_face, &h, &out, &run);
    cr_assert_eq(outcome, SCRIPT_PAUSED);
    struct library_set *none = library_set_without(set, SLICE("l"));
    cr_assert(script_libraries_use(h.vm, none));
    library_set_unref(set);
    cr_expect_null(script_function_known(h.vm, SLICE("slow")));
    while (outcome == SCRIPT_PAUSED) outcome = script_resume(run, &out);
    cr_assert_eq(outcome, SCRIPT_DONE);
    cr_expect(slice_equal(buf_slice(&h.reply), SLICE("$3\r\nold\r\n")));
    script_vm_free(h.vm);
    h.vm = NULL;
    library_set_unref(none);
    fake_host_deinit(&h);
}
