/* Bodies for the tests of the codec, and for its fuzzer. What a decoder finds is encoded again: both must agree. */
#include "tests/support/bodies.h"

#include <stdlib.h>

enum { LIST = 4096 };

static uint64_t state;

static uint64_t any(uint64_t below)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (state >> 20) % below;
}

static const char *text(void)
{
    static const char *const texts[] = {
        "", "a", "node1", "/usr/bin/cc", "-O3 -march=native", "h\xc3\xa9llo", "x = 1\nline 2"
    };
    return texts[any(sizeof texts / sizeof *texts)];
}

static struct mm_outcome_body outcome(void)
{
    return (struct mm_outcome_body){ .code = any(2) ? MAMUTO_EITEM : 0,
                                     .item_code = (int32_t)any(100) - 50,
                                     .signal = (int32_t)any(64),
                                     .worker = (int32_t)any(MM_MOST_WORKERS + 1) - 1,
                                     .line = (int32_t)any(1000),
                                     .item = any(2) ? MAMUTO_NO_ITEM : any(1000000),
                                     .file = text(),
                                     .text = text() };
}

static void put_call(struct mm_writer *w)
{
    struct mm_call_body call = { .module = (uint32_t)any(256),
                                 .function = (uint32_t)any(100),
                                 .flags = (uint32_t)any(8) |
                                          (any(2) ? MM_CALL_GROUPS | (uint32_t)any(2) * MM_CALL_VALUES : 0),
                                 .n_in = (uint32_t)any(MAMUTO_MAX_ARGS + 1),
                                 .n_dims = (uint32_t)any(MAMUTO_MAX_DIMS + 1),
                                 .out_size = 1 + any(100),
                                 .out_len = 1 + any(100),
                                 .seed = any(UINT64_MAX),
                                 .item_timeout_ms = (int32_t)any(1000),
                                 .retries = (int32_t)any(10),
                                 .priority = (int32_t)any(200) - 100,
                                 .leaf_items = 64,
                                 .n_items = 1 + any(1000000),
                                 .group_items = UINT64_C(64) << any(8),
                                 .n_fold_dims = (uint32_t)any(3) };
    for (unsigned j = 0; j < MAMUTO_MAX_DIMS; j++)
        call.dims[j] = call.fold_dims[j] = 1 + any(50);
    for (unsigned k = 0; k < MAMUTO_MAX_ARGS; k++) {
        struct mm_call_argument *in = &call.in[k];
        *in = (struct mm_call_argument){ .kind = (enum mm_argument_kind)any(3), .len = any(100) };
        in->object = in->kind == MM_ARGUMENT_KEPT ? 1 + any(1000) : 0;
        in->one = in->kind == MM_ARGUMENT_BROADCAST || (in->kind == MM_ARGUMENT_KEPT && any(2));
        in->variable = !in->one && any(2);
        in->size = (in->one ? 0 : 1) + any(100);
    }
    mm_put_call(w, &call);
}

static void put_run(struct mm_writer *w)
{
    struct mm_run_body run = { .call = any(1000), .lo = any(1000) };
    run.hi = run.lo + 1 + any(1000);
    for (unsigned k = 0; k < MAMUTO_MAX_ARGS; k++)
        run.bytes[k] = any(1000);
    mm_put_run(w, &run, (uint32_t)any(MAMUTO_MAX_ARGS + 1));
}

size_t bodies_make(unsigned i, uint64_t seed, enum mm_frame_type *type, unsigned char body[BODIES_BYTES])
{
    static const char *const list[] = { "one", "two/three.h", "", NULL };
    static const char *const files[] = { "src/model.c", "model.h", NULL };
    static const char *const env[] = { "OMP_NUM_THREADS=1", "EMPTY=", NULL };
    static const uint64_t sizes[] = { 100, 0 };
    struct mm_writer w = { .at = body, .room = BODIES_BYTES };
    struct mm_prove prove = { { 1 }, { 2 } };
    state = seed;
    switch (i) {
    case 0:
        *type = MM_FRAME_HELLO;
        mm_put_hello(&w, &(struct mm_hello){ MM_PROTOCOL, MM_PROTOCOL + (uint32_t)any(3), 1 + (uint32_t)any(64),
                                             any(UINT64_MAX), text(), text(), text(), text(), text(), text(), text() });
        break;
    case 1:
        *type = MM_FRAME_START;
        mm_put_start(&w,
                     &(struct mm_start){ .protocol = MM_PROTOCOL,
                                         .kind = (enum mm_stream_kind)any(3),
                                         .nonce = text(),
                                         .port_first = 1000,
                                         .port_last = (uint16_t)(1000 + any(100)),
                                         .nice = (int32_t)any(20),
                                         .pin = (int32_t)any(3),
                                         .output = any(2),
                                         .deadline_ms = 1 + (uint32_t)any(60000),
                                         .workdir = text() },
                     any(2) ? env : NULL);
        break;
    case 2:
        *type = MM_FRAME_LISTEN;
        mm_put_listen(&w, (uint16_t)(1 + any(65535)), list);
        break;
    case 3:
        *type = MM_FRAME_PROVE;
        mm_put_prove(&w, &prove);
        break;
    case 4:
        *type = MM_FRAME_UP;
        mm_put_up(&w, &(struct mm_up){ outcome(), 1 + (uint32_t)any(MM_MOST_WORKERS) });
        break;
    case 5:
        *type = MM_FRAME_MODULE;
        mm_put_module(&w, "model", files[0], "cc", list, list, files, sizes);
        break;
    case 6:
        *type = MM_FRAME_FUNCTION;
        mm_put_function(&w, &(struct mm_function_body){ MAMUTO_FORM_ITEM + (uint32_t)any(2), (int32_t)any(1000),
                                                        "like3", text(), text() });
        break;
    case 7:
        *type = MM_FRAME_LOADED;
        mm_put_loaded(&w, &(struct mm_loaded_body){ outcome(), text() });
        break;
    case 8:
        *type = MM_FRAME_FAIL;
        mm_put_outcome(&w,
                       &(struct mm_outcome_body){ .code = MAMUTO_ECRASH, .worker = 3, .file = text(), .text = text() });
        break;
    case 9:
        *type = MM_FRAME_CALL;
        put_call(&w);
        break;
    case 10:
        *type = MM_FRAME_RUN;
        put_run(&w);
        break;
    case 11:
        *type = MM_FRAME_DONE;
        mm_put_done(&w, &(struct mm_done_body){ outcome(), any(1000), any(UINT64_MAX) });
        break;
    case 12:
        *type = MM_FRAME_CREDIT;
        mm_put_credit(&w, any(UINT64_MAX));
        break;
    case 13:
        *type = MM_FRAME_OUT;
        mm_put_out(
            &w, &(struct mm_out_body){ (uint32_t)any(MM_MOST_WORKERS), 1 + (uint32_t)any(2), "a line\0of bytes", 15 });
        break;
    case 14:
        *type = MM_FRAME_BYE;
        mm_put_bye(&w, MAMUTO_EHOST, text());
        break;
    default:
        return 0;
    }
    return w.full ? 0 : w.n;
}

static const char *const *list_of(const struct mm_strings *strings)
{
    static const char *lists[4][LIST + 1];
    static unsigned next;
    const char **list = lists[next++ % 4];
    const char *at = strings->first;
    for (uint32_t i = 0; i < strings->n; i++) {
        list[i] = at;
        if (i + 1 < strings->n)
            at = mm_strings_next(at);
    }
    list[strings->n] = NULL;
    return list;
}

static int take_module(struct mm_writer *w, const unsigned char *body, size_t n, const char **why)
{
    static uint64_t sizes[1024];
    struct mm_module_body module;
    int code = mm_get_module(&module, body, n, why);
    if (code)
        return code;
    for (uint32_t i = 0; i < module.n_sizes; i++)
        sizes[i] = mm_module_size(&module, i);
    mm_put_module(w, module.name, module.main, module.cc, list_of(&module.cflags), list_of(&module.libs),
                  list_of(&module.files), sizes);
    return 0;
}

int bodies_take(unsigned type, const unsigned char *body, size_t n, unsigned char again[BODIES_BYTES], size_t *n_again,
                const char **why)
{
    struct mm_writer w = { .at = again, .room = BODIES_BYTES };
    union {
        struct mm_hello hello;
        struct mm_start start;
        struct mm_listen listen;
        struct mm_prove prove;
        struct mm_up up;
        struct mm_function_body function;
        struct mm_loaded_body loaded;
        struct mm_outcome_body outcome;
        struct mm_call_body call;
        struct mm_run_body run;
        struct mm_done_body done;
        struct mm_out_body out;
        struct mm_bye bye;
        uint64_t credit;
    } u;
    int code = -1;
    memset(&u, 0, sizeof u);
    switch (type) {
    case MM_FRAME_HELLO:
        if ((code = mm_get_hello(&u.hello, body, n, why)) == 0)
            mm_put_hello(&w, &u.hello);
        break;
    case MM_FRAME_START:
        if ((code = mm_get_start(&u.start, body, n, why)) == 0)
            mm_put_start(&w, &u.start, list_of(&u.start.env));
        break;
    case MM_FRAME_LISTEN:
        if ((code = mm_get_listen(&u.listen, body, n, why)) == 0)
            mm_put_listen(&w, u.listen.port, list_of(&u.listen.addresses));
        break;
    case MM_FRAME_PROVE:
        if ((code = mm_get_prove(&u.prove, body, n, why)) == 0)
            mm_put_prove(&w, &u.prove);
        break;
    case MM_FRAME_UP:
        if ((code = mm_get_up(&u.up, body, n, why)) == 0)
            mm_put_up(&w, &u.up);
        break;
    case MM_FRAME_MODULE:
        code = take_module(&w, body, n, why);
        break;
    case MM_FRAME_FUNCTION:
        if ((code = mm_get_function(&u.function, body, n, why)) == 0)
            mm_put_function(&w, &u.function);
        break;
    case MM_FRAME_LOADED:
        if ((code = mm_get_loaded(&u.loaded, body, n, why)) == 0)
            mm_put_loaded(&w, &u.loaded);
        break;
    case MM_FRAME_KEPT:
    case MM_FRAME_FAIL:
        if ((code = mm_get_outcome(&u.outcome, body, n, why)) == 0)
            mm_put_outcome(&w, &u.outcome);
        break;
    case MM_FRAME_CALL:
        if ((code = mm_get_call(&u.call, body, n, why)) == 0)
            mm_put_call(&w, &u.call);
        break;
    case MM_FRAME_RUN:
        if ((code = mm_get_run(&u.run, body, n, why)) == 0)
            mm_put_run(&w, &u.run, u.run.n_in);
        break;
    case MM_FRAME_DONE:
        if ((code = mm_get_done(&u.done, body, n, why)) == 0)
            mm_put_done(&w, &u.done);
        break;
    case MM_FRAME_CREDIT:
        if ((code = mm_get_credit(&u.credit, body, n, why)) == 0)
            mm_put_credit(&w, u.credit);
        break;
    case MM_FRAME_OUT:
        if ((code = mm_get_out(&u.out, body, n, why)) == 0)
            mm_put_out(&w, &u.out);
        break;
    case MM_FRAME_BYE:
        if ((code = mm_get_bye(&u.bye, body, n, why)) == 0)
            mm_put_bye(&w, u.bye.code, u.bye.text);
        break;
    default:
        break;
    }
    *n_again = w.full ? 0 : w.n;
    return code;
}
