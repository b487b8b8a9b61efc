/* Bodies of frames, bytes to structure: net/message.h. What comes is another machine's: every length is held against what
 * is there, every number against its range, and nothing may be left over. Strings stay in the body, where each has its 0.
 * Called by both sides.
 */
#include "net/message.h"

#include "core/signature.h"

enum { MOST_CORES = 1 << 20, MOST_PRIORITY = 100, MOST_FLAGS = 1 << 12, MOST_FILES = 1 << 10, MOST_ADDRESSES = 256 };

static const unsigned char *get_bytes(struct mm_reader *r, size_t n)
{
    if (r->bad || n > r->n - r->used) {
        r->cut |= !r->bad;
        r->bad = true;
        return NULL;
    }
    r->used += n;
    return r->at + r->used - n;
}

static uint64_t get_number(struct mm_reader *r, size_t bytes)
{
    const unsigned char *at = get_bytes(r, bytes);
    uint64_t value = 0;
    for (size_t i = 0; at && i < bytes; i++)
        value |= (uint64_t)at[i] << 8 * i;
    return value;
}

static uint32_t get_u32(struct mm_reader *r) { return (uint32_t)get_number(r, 4); }
static int32_t get_i32(struct mm_reader *r) { return (int32_t)get_number(r, 4); }
static uint64_t get_u64(struct mm_reader *r) { return get_number(r, 8); }

/* In [least, most]. */
static uint32_t get_in(struct mm_reader *r, uint32_t least, uint32_t most)
{
    uint32_t value = get_u32(r);
    r->bad |= value < least || value > most;
    return value;
}

/* What a size may be, and what sizes may add up to. */
static uint64_t get_size(struct mm_reader *r, uint64_t least, uint64_t most)
{
    uint64_t value = get_u64(r);
    r->bad |= value < least || value > most;
    return value;
}

static int32_t get_signed_in(struct mm_reader *r, int32_t least, int32_t most)
{
    int32_t value = get_i32(r);
    r->bad |= value < least || value > most;
    return value;
}

static const char *get_text(struct mm_reader *r)
{
    uint32_t n = get_u32(r);
    const char *text = (const char *)get_bytes(r, n);
    if (text && n && strnlen(text, n) == n - 1)
        return text;
    r->bad = true;
    return "";
}

static struct mm_strings get_list(struct mm_reader *r, uint32_t most)
{
    struct mm_strings list = { .n = get_in(r, 0, most) };
    for (uint32_t i = 0; i < list.n && !r->bad; i++) {
        const char *text = get_text(r);
        if (i == 0)
            list.first = text;
    }
    return list;
}

static void get_dims(struct mm_reader *r, uint64_t *dims, uint32_t *n)
{
    *n = get_in(r, 0, MAMUTO_MAX_DIMS);
    for (uint32_t i = 0; i < *n && !r->bad; i++) {
        dims[i] = get_u64(r);
        r->bad |= dims[i] == 0;
    }
}

static int end(const struct mm_reader *r, const char **why)
{
    if (!r->bad && r->used == r->n)
        return 0;
    *why = r->cut   ? "it ends before its last field does"
           : r->bad ? "a field of it is out of its range"
                    : "something follows its last field";
    return MAMUTO_EPROTOCOL;
}

static bool is_code(int32_t code)
{
#define IS_ONE(name_, value_, text_) case value_:
    switch (code) {
    case 0:
        MAMUTO_ERRORS(IS_ONE)
        return true;
    default:
        return false;
    }
#undef IS_ONE
}

static void get_outcome(struct mm_reader *r, struct mm_outcome_body *outcome)
{
    outcome->code = get_i32(r);
    outcome->item_code = get_i32(r);
    outcome->signal = get_signed_in(r, 0, 1024);
    outcome->worker = get_signed_in(r, -1, MM_MOST_WORKERS - 1);
    outcome->line = get_signed_in(r, 0, INT32_MAX);
    outcome->item = get_u64(r);
    outcome->file = get_text(r);
    outcome->text = get_text(r);
    r->bad |= !is_code(outcome->code);
}

int mm_get_hello(struct mm_hello *hello, const unsigned char *at, size_t n, const char **why)
{
    struct mm_reader r = { .at = at, .n = n };
    uint16_t order = 0;
    const unsigned char *mark = get_bytes(&r, sizeof order);
    if (mark)
        memcpy(&order, mark, sizeof order);
    if (mark && order == (MM_BYTE_ORDER >> 8 | (MM_BYTE_ORDER & 0xff) << 8)) {
        *why = "its byte order is not that of this machine";
        return MAMUTO_EVERSION;
    }
    r.bad |= order != MM_BYTE_ORDER;
    hello->protocol_least = get_u32(&r);
    hello->protocol_most = get_u32(&r);
    if (!r.bad && (hello->protocol_least > MM_PROTOCOL || hello->protocol_most < MM_PROTOCOL)) {
        *why = "it speaks another version of the protocol";
        return MAMUTO_EVERSION;
    }
    hello->cores = get_in(&r, 1, MOST_CORES);
    hello->memory = get_u64(&r);
    hello->build = get_text(&r);
    hello->os = get_text(&r);
    hello->arch = get_text(&r);
    hello->cpu = get_text(&r);
    hello->libc = get_text(&r);
    hello->tls = get_text(&r);
    hello->ssh_connection = get_text(&r);
    return end(&r, why);
}

/* NAME=value, each. */
static bool are_settings(const struct mm_strings *env)
{
    const char *one = env->first;
    for (uint32_t i = 0; i < env->n; i++) {
        const char *sign = strchr(one, '=');
        if (!sign || sign == one)
            return false;
        if (i + 1 < env->n)
            one = mm_strings_next(one);
    }
    return true;
}

int mm_get_start(struct mm_start *start, const unsigned char *at, size_t n, const char **why)
{
    struct mm_reader r = { .at = at, .n = n };
    start->protocol = get_in(&r, MM_PROTOCOL, MM_PROTOCOL);
    start->kind = (enum mm_stream_kind)get_in(&r, MM_STREAM_CHANNEL, MM_STREAM_TLS);
    const unsigned char *key = get_bytes(&r, sizeof start->key);
    if (key)
        memcpy(start->key, key, sizeof start->key);
    start->nonce = get_text(&r);
    start->port_first = (uint16_t)get_in(&r, 0, UINT16_MAX);
    start->port_last = (uint16_t)get_in(&r, 0, UINT16_MAX);
    r.bad |= start->port_first > start->port_last || (!start->port_first && start->port_last);
    start->cores = get_in(&r, 0, MM_MOST_WORKERS);
    start->nice = get_signed_in(&r, 0, 19);
    start->pin = get_signed_in(&r, 0, 2);
    start->core_dumps = get_in(&r, 0, 1);
    start->output = get_in(&r, 0, 1);
    start->memory = get_u64(&r);
    start->deadline_ms = get_in(&r, 1, INT32_MAX);
    start->workdir = get_text(&r);
    start->env = get_list(&r, MOST_FLAGS);
    r.bad = r.bad || !are_settings(&start->env);
    return end(&r, why);
}

int mm_get_listen(struct mm_listen *listen, const unsigned char *at, size_t n, const char **why)
{
    struct mm_reader r = { .at = at, .n = n };
    listen->port = (uint16_t)get_in(&r, 1, UINT16_MAX);
    listen->addresses = get_list(&r, MOST_ADDRESSES);
    return end(&r, why);
}

int mm_get_prove(struct mm_prove *prove, const unsigned char *at, size_t n, const char **why)
{
    struct mm_reader r = { .at = at, .n = n };
    const unsigned char *bytes = get_bytes(&r, sizeof prove->challenge + sizeof prove->proof);
    if (bytes) {
        memcpy(prove->challenge, bytes, sizeof prove->challenge);
        memcpy(prove->proof, bytes + sizeof prove->challenge, sizeof prove->proof);
    }
    return end(&r, why);
}

int mm_get_up(struct mm_up *up, const unsigned char *at, size_t n, const char **why)
{
    struct mm_reader r = { .at = at, .n = n };
    get_outcome(&r, &up->outcome);
    up->workers = get_in(&r, up->outcome.code ? 0 : 1, MM_MOST_WORKERS);
    return end(&r, why);
}

/* A path below a folder: no part of it is empty, "." or "..". */
static bool is_below(const char *name)
{
    for (const char *part = name; part; part++) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (n <= 2 && strncmp(part, "..", n) == 0))
            return false;
        part += n;
        if (!*part)
            break;
    }
    return true;
}

/* All of them below a folder, main among them. */
static bool are_files(const struct mm_strings *files, const char *main)
{
    const char *name = files->first;
    bool found = false;
    for (uint32_t i = 0; i < files->n; i++) {
        if (!is_below(name))
            return false;
        found |= strcmp(name, main) == 0;
        if (i + 1 < files->n)
            name = mm_strings_next(name);
    }
    return found;
}

int mm_get_module(struct mm_module_body *module, const unsigned char *at, size_t n, const char **why)
{
    struct mm_reader r = { .at = at, .n = n };
    module->name = get_text(&r);
    module->main = get_text(&r);
    module->cc = get_text(&r);
    module->cflags = get_list(&r, MOST_FLAGS);
    module->libs = get_list(&r, MOST_FLAGS);
    module->files = get_list(&r, MOST_FILES);
    module->n_sizes = get_in(&r, module->files.n, module->files.n);
    module->sizes = get_bytes(&r, (size_t)module->n_sizes * 8);
    r.bad = r.bad || !mm_is_identifier(module->name) || !*module->cc || !are_files(&module->files, module->main);
    return end(&r, why);
}

uint64_t mm_module_size(const struct mm_module_body *module, uint32_t file)
{
    struct mm_reader r = { .at = module->sizes + (size_t)file * 8, .n = 8 };
    return get_u64(&r);
}

int mm_get_function(struct mm_function_body *function, const unsigned char *at, size_t n, const char **why)
{
    struct mm_reader r = { .at = at, .n = n };
    function->form = get_in(&r, MAMUTO_FORM_ITEM, MAMUTO_FORM_CHUNK);
    function->line = get_signed_in(&r, 0, INT32_MAX);
    function->name = get_text(&r);
    r.bad = r.bad || !mm_is_identifier(function->name);
    function->signature = get_text(&r);
    function->doc = get_text(&r);
    return end(&r, why);
}

int mm_get_loaded(struct mm_loaded_body *loaded, const unsigned char *at, size_t n, const char **why)
{
    struct mm_reader r = { .at = at, .n = n };
    get_outcome(&r, &loaded->outcome);
    loaded->fingerprint = get_text(&r);
    return end(&r, why);
}

int mm_get_outcome(struct mm_outcome_body *outcome, const unsigned char *at, size_t n, const char **why)
{
    struct mm_reader r = { .at = at, .n = n };
    get_outcome(&r, outcome);
    return end(&r, why);
}

static void get_argument(struct mm_reader *r, struct mm_call_argument *in)
{
    in->kind = (enum mm_argument_kind)get_in(r, MM_ARGUMENT_SCATTER, MM_ARGUMENT_KEPT);
    uint32_t bits = get_in(r, 0, 3);
    in->variable = bits & 1;
    in->one = bits & 2;
    in->size = get_size(r, in->one ? 0 : 1, INT64_MAX); /* one value may be of no elements */
    in->len = get_size(r, 0, INT64_MAX);
    in->object = get_u64(r);
    r->bad |= (in->variable && in->one) || (in->kind == MM_ARGUMENT_BROADCAST && !in->one) ||
              (in->kind == MM_ARGUMENT_SCATTER && in->one) || (in->kind == MM_ARGUMENT_KEPT) != (in->object != 0);
}

/* Groups are blocks of leaf_items times a power of two. */
static void get_groups(struct mm_reader *r, struct mm_call_body *call)
{
    call->fold_module = get_u32(r);
    call->fold_function = get_u32(r);
    get_dims(r, call->fold_dims, &call->n_fold_dims);
    call->leaf_items = get_in(r, 1, 1 << 20);
    call->n_items = get_size(r, 1, MAMUTO_MAX_ITEMS);
    call->group_items = get_size(r, 1, MAMUTO_MAX_ITEMS);
    if (r->bad || !call->leaf_items)
        return;
    uint64_t blocks = call->group_items / call->leaf_items;
    r->bad = call->group_items % call->leaf_items || (blocks & (blocks - 1));
}

int mm_get_call(struct mm_call_body *call, const unsigned char *at, size_t n, const char **why)
{
    struct mm_reader r = { .at = at, .n = n };
    *call = (struct mm_call_body){ .module = get_u32(&r) };
    call->function = get_u32(&r);
    call->flags = get_in(&r, 0, MM_CALL_ALL_FLAGS);
    get_dims(&r, call->dims, &call->n_dims);
    call->n_in = get_in(&r, 0, MAMUTO_MAX_ARGS);
    for (uint32_t k = 0; k < call->n_in && !r.bad; k++)
        get_argument(&r, &call->in[k]);
    call->out_size = get_size(&r, 1, INT64_MAX);
    call->out_len = get_size(&r, 1, INT64_MAX);
    call->seed = get_u64(&r);
    call->item_timeout_ms = get_signed_in(&r, 0, INT32_MAX);
    call->retries = get_signed_in(&r, 0, INT32_MAX);
    call->priority = get_signed_in(&r, -MOST_PRIORITY, MOST_PRIORITY);
    if (call->flags & MM_CALL_GROUPS)
        get_groups(&r, call);
    else
        r.bad |= (call->flags & (MM_CALL_VALUES | MM_CALL_FOLD_ONLY | MM_CALL_ABSENT)) != 0;
    return end(&r, why);
}

int mm_get_run(struct mm_run_body *run, const unsigned char *at, size_t n, const char **why)
{
    struct mm_reader r = { .at = at, .n = n };
    *run = (struct mm_run_body){ .call = get_u64(&r) };
    run->lo = get_u64(&r);
    run->hi = get_size(&r, 1, MAMUTO_MAX_ITEMS);
    r.bad |= run->lo >= run->hi;
    run->n_in = get_in(&r, 0, MAMUTO_MAX_ARGS);
    for (uint32_t k = 0; k < run->n_in && !r.bad; k++)
        run->bytes[k] = get_size(&r, 0, INT64_MAX);
    return end(&r, why);
}

int mm_get_done(struct mm_done_body *done, const unsigned char *at, size_t n, const char **why)
{
    struct mm_reader r = { .at = at, .n = n };
    get_outcome(&r, &done->outcome);
    done->failed = get_size(&r, 0, MAMUTO_MAX_ITEMS);
    done->busy_ns = get_u64(&r);
    return end(&r, why);
}

int mm_get_credit(uint64_t *bytes, const unsigned char *at, size_t n, const char **why)
{
    struct mm_reader r = { .at = at, .n = n };
    *bytes = get_u64(&r);
    return end(&r, why);
}

int mm_get_out(struct mm_out_body *out, const unsigned char *at, size_t n, const char **why)
{
    struct mm_reader r = { .at = at, .n = n };
    out->worker = get_in(&r, 0, MM_MOST_WORKERS - 1);
    out->fd = get_in(&r, 1, 2);
    out->n = r.bad ? 0 : n - r.used;
    out->text = (const char *)get_bytes(&r, out->n);
    return end(&r, why);
}

int mm_get_bye(struct mm_bye *bye, const unsigned char *at, size_t n, const char **why)
{
    struct mm_reader r = { .at = at, .n = n };
    bye->code = get_i32(&r);
    bye->text = get_text(&r);
    r.bad |= !is_code(bye->code);
    return end(&r, why);
}
