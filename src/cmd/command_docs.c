/* COMMAND INFO and COMMAND DOCS: the generated table as replies.
 *
 * The shapes are those of Redis 7: redis-cli builds its hints from the argument trees, cluster
 * clients route by first key, key specs and tips. Maps and sets become arrays under RESP2 by
 * themselves (reply.h). Fields without a value are left out of maps, so their size is counted
 * first. Source: https://redis.io/docs/latest/commands/command-docs/ and command-info.
 * Thread: any. */
#include "command_docs.h"

#include "docs.h"

/* Names of mask bits, in the order in which Redis writes them. */
struct bit_name {
    uint32_t bit;
    const char *name;
};

static const struct bit_name command_flags[] = {
    {CMD_WRITE, "write"},
    {CMD_READONLY, "readonly"},
    {CMD_DENYOOM, "denyoom"},
    {CMD_ADMIN, "admin"},
    {CMD_PUBSUB, "pubsub"},
    {CMD_NOSCRIPT, "noscript"},
    {CMD_BLOCKING, "blocking"},
    {CMD_LOADING, "loading"},
    {CMD_STALE, "stale"},
    {CMD_SKIP_MONITOR, "skip_monitor"},
    {CMD_SKIP_SLOWLOG, "skip_slowlog"},
    {CMD_ASKING, "asking"},
    {CMD_FAST, "fast"},
    {CMD_NO_AUTH, "no_auth"},
    {CMD_NO_MANDATORY_KEYS, "no_mandatory_keys"},
    {CMD_NO_ASYNC_LOADING, "no_async_loading"},
    {CMD_NO_MULTI, "no_multi"},
    {CMD_MOVABLE_KEYS, "movablekeys"},
    {CMD_ALLOW_BUSY, "allow_busy"},
};

static const struct bit_name key_flags[] = {
    {KEY_RO, "RO"},
    {KEY_RW, "RW"},
    {KEY_OW, "OW"},
    {KEY_RM, "RM"},
    {KEY_ACCESS, "access"},
    {KEY_UPDATE, "update"},
    {KEY_INSERT, "insert"},
    {KEY_DELETE, "delete"},
    {KEY_NOT_KEY, "not_key"},
    {KEY_INCOMPLETE, "incomplete"},
    {KEY_VARIABLE, "variable_flags"},
};

static const struct bit_name arg_flags[] = {
    {ARG_OPTIONAL, "optional"},
    {ARG_MULTIPLE, "multiple"},
    {ARG_MULTIPLE_TOKEN, "multiple_token"},
};

static const struct bit_name doc_flags[] = {
    {DOC_DEPRECATED, "deprecated"},
    {DOC_SYSCMD, "syscmd"},
};

static void reply_bits(struct reply *r, uint32_t mask, const struct bit_name *names, size_t count)
{
    size_t set = 0;
    for (size_t i = 0; i < count; i++) set += (mask & names[i].bit) != 0;
    reply_set(r, set);
    for (size_t i = 0; i < count; i++) {
        if (mask & names[i].bit) reply_simple(r, names[i].name);
    }
}

void command_reply_key_flags(struct reply *r, uint32_t flags)
{
    reply_bits(r, flags, key_flags, ARRAY_COUNT(key_flags));
}

/* ---- COMMAND INFO ---- */

static void reply_field_int(struct reply *r, const char *name, int64_t value)
{
    reply_bulk_str(r, name);
    reply_int(r, value);
}

static void reply_field_str(struct reply *r, const char *name, const char *value)
{
    reply_bulk_str(r, name);
    reply_bulk_str(r, value);
}

static void reply_categories(struct reply *r, uint64_t acl)
{
    reply_set(r, (size_t)__builtin_popcountll(acl));
    for (int bit = 0; bit < ACL_CATEGORY_COUNT; bit++) {
        if (!(acl >> bit & 1)) continue;
        char name[32] = "@";
        const char *category = acl_category_name(bit);
        memcpy(name + 1, category, strlen(category) + 1);
        reply_simple(r, name);
    }
}

static void reply_begin_search(struct reply *r, const struct key_spec *spec)
{
    reply_bulk_str(r, "begin_search");
    reply_map(r, 2);
    switch (spec->begin) {
    case KEYS_BEGIN_INDEX:
        reply_field_str(r, "type", "index");
        reply_bulk_str(r, "spec");
        reply_map(r, 1);
        reply_field_int(r, "index", spec->index);
        break;
    case KEYS_BEGIN_KEYWORD:
        reply_field_str(r, "type", "keyword");
        reply_bulk_str(r, "spec");
        reply_map(r, 2);
        reply_field_str(r, "keyword", spec->keyword);
        reply_field_int(r, "startfrom", spec->from);
        break;
    default:
        reply_field_str(r, "type", "unknown");
        reply_bulk_str(r, "spec");
        reply_map(r, 0);
    }
}

static void reply_find_keys(struct reply *r, const struct key_spec *spec)
{
    reply_bulk_str(r, "find_keys");
    reply_map(r, 2);
    switch (spec->find) {
    case KEYS_FIND_RANGE:
        reply_field_str(r, "type", "range");
        reply_bulk_str(r, "spec");
        reply_map(r, 3);
        reply_field_int(r, "lastkey", spec->last);
        reply_field_int(r, "keystep", spec->step);
        reply_field_int(r, "limit", spec->limit);
        break;
    case KEYS_FIND_KEYNUM:
        reply_field_str(r, "type", "keynum");
        reply_bulk_str(r, "spec");
        reply_map(r, 3);
        reply_field_int(r, "keynumidx", spec->keynum);
        reply_field_int(r, "firstkey", spec->first);
        reply_field_int(r, "keystep", spec->step);
        break;
    default:
        reply_field_str(r, "type", "unknown");
        reply_bulk_str(r, "spec");
        reply_map(r, 0);
    }
}

static void reply_key_specs(struct reply *r, const struct command *cmd)
{
    reply_set(r, cmd->key_spec_count);
    for (int i = 0; i < cmd->key_spec_count; i++) {
        const struct key_spec *spec = &cmd->key_specs[i];
        reply_map(r, spec->notes ? 4 : 3);
        if (spec->notes) reply_field_str(r, "notes", spec->notes);
        reply_bulk_str(r, "flags");
        command_reply_key_flags(r, spec->flags);
        reply_begin_search(r, spec);
        reply_find_keys(r, spec);
    }
}

static size_t sub_count(const struct command *cmd)
{
    size_t count = 0;
    while (cmd->subcommands && cmd->subcommands[count]) count++;
    return count;
}

void command_reply_info(struct reply *r, const struct command *cmd)
{
    reply_array(r, 10);
    reply_bulk_str(r, cmd->name);
    reply_int(r, cmd->arity);
    reply_bits(r, cmd->flags, command_flags, ARRAY_COUNT(command_flags));
    reply_int(r, cmd->key_first);
    reply_int(r, cmd->key_last);
    reply_int(r, cmd->key_step);
    reply_categories(r, cmd->acl);
    reply_set(r, (size_t)cmd->docs->tip_count);
    for (int i = 0; i < cmd->docs->tip_count; i++) reply_bulk_str(r, cmd->docs->tips[i]);
    reply_key_specs(r, cmd);
    size_t subs = sub_count(cmd);
    reply_set(r, subs);
    for (size_t i = 0; i < subs; i++) command_reply_info(r, cmd->subcommands[i]);
}

/* ---- COMMAND DOCS ---- */

static const char *arg_type_name(enum command_arg_type type)
{
    switch (type) {
    case ARG_STRING: return "string";
    case ARG_INTEGER: return "integer";
    case ARG_DOUBLE: return "double";
    case ARG_KEY: return "key";
    case ARG_PATTERN: return "pattern";
    case ARG_UNIX_TIME: return "unix-time";
    case ARG_PURE_TOKEN: return "pure-token";
    case ARG_ONEOF: return "oneof";
    case ARG_BLOCK: return "block";
    }
    return "string";
}

static void reply_optional_str(struct reply *r, const char *name, const char *value)
{
    if (value) reply_field_str(r, name, value);
}

static void reply_args(struct reply *r, const struct command_arg *args, int count)
{
    reply_array(r, (size_t)count);
    for (int i = 0; i < count; i++) {
        const struct command_arg *arg = &args[i];
        size_t fields = 2 + (size_t)(arg->spec >= 0) + (arg->token != NULL) +
                        (arg->summary != NULL) + (arg->since != NULL) +
                        (arg->deprecated_since != NULL) + (arg->flags != 0) + (arg->args != NULL);
        reply_map(r, fields);
        reply_field_str(r, "name", arg->name);
        reply_field_str(r, "type", arg_type_name(arg->type));
        if (arg->spec >= 0) reply_field_int(r, "key_spec_index", arg->spec);
        reply_optional_str(r, "token", arg->token);
        reply_optional_str(r, "summary", arg->summary);
        reply_optional_str(r, "since", arg->since);
        reply_optional_str(r, "deprecated_since", arg->deprecated_since);
        if (arg->flags) {
            reply_bulk_str(r, "flags");
            reply_bits(r, arg->flags, arg_flags, ARRAY_COUNT(arg_flags));
        }
        if (arg->args) {
            reply_bulk_str(r, "arguments");
            reply_args(r, arg->args, arg->arg_count);
        }
    }
}

void command_reply_docs(struct reply *r, const struct command *cmd)
{
    const struct command_docs *docs = cmd->docs;
    size_t subs = sub_count(cmd);
    size_t fields = 3 + (size_t)(docs->complexity != NULL) + (docs->flags != 0) +
                    (docs->deprecated_since != NULL) + (docs->replaced_by != NULL) +
                    (docs->history_count != 0) + (docs->arg_count != 0) + (subs != 0);
    reply_bulk_str(r, cmd->name);
    reply_map(r, fields);
    reply_field_str(r, "summary", docs->summary);
    reply_field_str(r, "since", docs->since);
    reply_field_str(r, "group", docs->group);
    reply_optional_str(r, "complexity", docs->complexity);
    if (docs->flags) {
        reply_bulk_str(r, "doc_flags");
        reply_bits(r, docs->flags, doc_flags, ARRAY_COUNT(doc_flags));
    }
    reply_optional_str(r, "deprecated_since", docs->deprecated_since);
    reply_optional_str(r, "replaced_by", docs->replaced_by);
    if (docs->history_count) {
        reply_bulk_str(r, "history");
        reply_set(r, (size_t)docs->history_count);
        for (int i = 0; i < docs->history_count; i++) {
            reply_array(r, 2);
            reply_bulk_str(r, docs->history[i].since);
            reply_bulk_str(r, docs->history[i].change);
        }
    }
    if (docs->arg_count) {
        reply_bulk_str(r, "arguments");
        reply_args(r, docs->args, docs->arg_count);
    }
    if (subs) {
        reply_bulk_str(r, "subcommands");
        reply_map(r, subs);
        for (size_t i = 0; i < subs; i++) command_reply_docs(r, cmd->subcommands[i]);
    }
}
