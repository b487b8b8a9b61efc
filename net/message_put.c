/* Bodies of frames, structure to bytes: net/message.h. Field by field, in the order of the structures; what does not fit
 * sets full and writes no more. Called by both sides.
 */
#include "net/message.h"

static void put_bytes(struct mm_writer *w, const void *bytes, size_t n)
{
    if (w->full || n > w->room - w->n) {
        w->full = true;
        return;
    }
    if (n)
        memcpy(w->at + w->n, bytes, n);
    w->n += n;
}

static void put_number(struct mm_writer *w, uint64_t value, size_t bytes)
{
    unsigned char at[8];
    for (size_t i = 0; i < bytes; i++)
        at[i] = (unsigned char)(value >> 8 * i);
    put_bytes(w, at, bytes);
}

static void put_u32(struct mm_writer *w, uint32_t value) { put_number(w, value, 4); }
static void put_i32(struct mm_writer *w, int32_t value) { put_number(w, (uint32_t)value, 4); }
static void put_u64(struct mm_writer *w, uint64_t value) { put_number(w, value, 8); }

static void put_text(struct mm_writer *w, const char *text)
{
    size_t n = strlen(text ? text : "") + 1;
    put_u32(w, (uint32_t)n);
    put_bytes(w, text ? text : "", n);
}

static void put_list(struct mm_writer *w, const char *const *list)
{
    uint32_t n = 0;
    while (list && list[n])
        n++;
    put_u32(w, n);
    for (uint32_t i = 0; i < n; i++)
        put_text(w, list[i]);
}

static void put_dims(struct mm_writer *w, const uint64_t *dims, uint32_t n)
{
    put_u32(w, n);
    for (uint32_t i = 0; i < n && i < MAMUTO_MAX_DIMS; i++)
        put_u64(w, dims[i]);
}

void mm_put_hello(struct mm_writer *w, const struct mm_hello *hello)
{
    uint16_t order = MM_BYTE_ORDER; /* as it lies here: so that another order is seen */
    put_bytes(w, &order, sizeof order);
    put_u32(w, hello->protocol_least);
    put_u32(w, hello->protocol_most);
    put_u32(w, hello->cores);
    put_u64(w, hello->memory);
    put_text(w, hello->build);
    put_text(w, hello->os);
    put_text(w, hello->arch);
    put_text(w, hello->cpu);
    put_text(w, hello->libc);
    put_text(w, hello->tls);
    put_text(w, hello->ssh_connection);
}

void mm_put_start(struct mm_writer *w, const struct mm_start *start, const char *const *env)
{
    put_u32(w, start->protocol);
    put_u32(w, start->kind);
    put_bytes(w, start->key, sizeof start->key);
    put_text(w, start->nonce);
    put_u32(w, start->port_first);
    put_u32(w, start->port_last);
    put_u32(w, start->cores);
    put_i32(w, start->nice);
    put_i32(w, start->pin);
    put_u32(w, start->core_dumps);
    put_u32(w, start->output);
    put_u64(w, start->memory);
    put_u32(w, start->deadline_ms);
    put_text(w, start->workdir);
    put_list(w, env);
}

void mm_put_listen(struct mm_writer *w, uint16_t port, const char *const *addresses)
{
    put_u32(w, port);
    put_list(w, addresses);
}

void mm_put_prove(struct mm_writer *w, const struct mm_prove *prove)
{
    put_bytes(w, prove->challenge, sizeof prove->challenge);
    put_bytes(w, prove->proof, sizeof prove->proof);
}

void mm_put_outcome(struct mm_writer *w, const struct mm_outcome_body *outcome)
{
    put_i32(w, outcome->code);
    put_i32(w, outcome->item_code);
    put_i32(w, outcome->signal);
    put_i32(w, outcome->worker);
    put_i32(w, outcome->line);
    put_u64(w, outcome->item);
    put_text(w, outcome->file);
    put_text(w, outcome->text);
}

void mm_put_up(struct mm_writer *w, const struct mm_up *up)
{
    mm_put_outcome(w, &up->outcome);
    put_u32(w, up->workers);
}

void mm_put_module(struct mm_writer *w, const char *name, const char *main, const char *cc, const char *const *cflags,
                   const char *const *libs, const char *const *files, const uint64_t *sizes)
{
    uint32_t n = 0;
    put_text(w, name);
    put_text(w, main);
    put_text(w, cc);
    put_list(w, cflags);
    put_list(w, libs);
    put_list(w, files);
    while (files[n])
        n++;
    put_u32(w, n);
    for (uint32_t i = 0; i < n; i++)
        put_u64(w, sizes[i]);
}

void mm_put_function(struct mm_writer *w, const struct mm_function_body *function)
{
    put_u32(w, function->form);
    put_i32(w, function->line);
    put_text(w, function->name);
    put_text(w, function->signature);
    put_text(w, function->doc);
}

void mm_put_loaded(struct mm_writer *w, const struct mm_loaded_body *loaded)
{
    mm_put_outcome(w, &loaded->outcome);
    put_text(w, loaded->fingerprint);
}

static void put_argument(struct mm_writer *w, const struct mm_call_argument *in)
{
    put_u32(w, in->kind);
    put_u32(w, (in->variable ? 1U : 0U) | (in->one ? 2U : 0U));
    put_u64(w, in->size);
    put_u64(w, in->len);
    put_u64(w, in->object);
}

void mm_put_call(struct mm_writer *w, const struct mm_call_body *call)
{
    put_u32(w, call->module);
    put_u32(w, call->function);
    put_u32(w, call->flags);
    put_dims(w, call->dims, call->n_dims);
    put_u32(w, call->n_in);
    for (uint32_t k = 0; k < call->n_in && k < MAMUTO_MAX_ARGS; k++)
        put_argument(w, &call->in[k]);
    put_u64(w, call->out_size);
    put_u64(w, call->out_len);
    put_u64(w, call->seed);
    put_i32(w, call->item_timeout_ms);
    put_i32(w, call->retries);
    put_i32(w, call->priority);
    if (!(call->flags & MM_CALL_GROUPS))
        return;
    put_u32(w, call->fold_module);
    put_u32(w, call->fold_function);
    put_dims(w, call->fold_dims, call->n_fold_dims);
    put_u32(w, call->leaf_items);
    put_u64(w, call->n_items);
    put_u64(w, call->group_items);
}

void mm_put_run(struct mm_writer *w, const struct mm_run_body *run, uint32_t n_in)
{
    put_u64(w, run->call);
    put_u64(w, run->lo);
    put_u64(w, run->hi);
    put_u32(w, n_in);
    for (uint32_t k = 0; k < n_in && k < MAMUTO_MAX_ARGS; k++)
        put_u64(w, run->bytes[k]);
}

void mm_put_done(struct mm_writer *w, const struct mm_done_body *done)
{
    mm_put_outcome(w, &done->outcome);
    put_u64(w, done->failed);
    put_u64(w, done->busy_ns);
}

void mm_put_credit(struct mm_writer *w, uint64_t bytes) { put_u64(w, bytes); }

void mm_put_out(struct mm_writer *w, const struct mm_out_body *out)
{
    put_u32(w, out->worker);
    put_u32(w, out->fd);
    put_bytes(w, out->text, out->n);
}

void mm_put_bye(struct mm_writer *w, int32_t code, const char *text)
{
    put_i32(w, code);
    put_text(w, text);
}
