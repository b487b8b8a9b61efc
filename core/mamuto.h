/* mamuto: an easy distributed map() and reduce() in C.
 *
 * You name a function, hand over arrays, and get the results in order, computed on every core of this machine.
 * This header is the manual. It has two sides:
 *
 *   the module side   what a file with functions needs: MAMUTO_FUNCTION, MAMUTO_KERNEL and what is used inside.
 *                     It needs gcc or clang, C11 or C++17, and links with nothing.
 *   the program side  what a program needs that maps those functions: mamuto_open … mamuto_close.
 *
 *   mamuto_t *m;
 *   mamuto_error_t err = { 0 };
 *   mamuto_options_t options = { .modules = (const char *[]){ "model.c", NULL } };
 *   if (mamuto_open_wait(&m, &options, &err) == 0) {
 *       mamuto_call_t call = { .function = "model.like3", .args = { mamuto_scatter(p, n), mamuto_broadcast(data) }, .result = out };
 *       mamuto_map_wait(m, &call, &err);
 *       mamuto_close_wait(m);
 *   }
 *
 * HOW IT WORKS. A mapper (mamuto_t) has worker processes, forked by a small server process, one a core unless the
 * config says otherwise. A map is the range [0, n) of items; workers take chunks of it in shared memory, run the
 * function on them and write the results where they belong. A worker that dies takes nothing with it: its chunk is
 * run again, one item at a time, in a fresh worker, and the item at fault is named.
 *
 * RULES
 *  1. A non-blocking call that returns non-zero did nothing and calls nothing back. One that returned 0 calls back
 *     exactly once, later, from the loop, never from inside the call.
 *  2. Structs and strings are borrowed for the call. Arrays are borrowed until on_done; when it comes, nothing can
 *     touch them any more. A map handle is valid until its on_done returns. A result may not overlap an argument.
 *  3. Cancel, close and forget are legal in any callback. Close ends the maps in flight with MAMUTO_ECANCELED, then calls
 *     on_close; only after it may the loop be closed. A cancelled map ends at the end of the blocks of about 50 µs
 *     that are running; a worker that still holds one after 100 ms is killed.
 *  4. An open, load, map, keep or close in flight keeps uv_run() going; an idle mapper does not.
 *  5. The _wait forms need a mapper without a loop of the caller's, and no callback of that mapper on the stack, else
 *     MAMUTO_EINVAL; callbacks of other calls run inside them. A mapper belongs to one thread at a time. Two mappers
 *     in two threads are independent.
 *  6. With MAMUTO_ON_ERROR_SKIP a map with failed items stores all others, fills the failed items' results with zero
 *     bytes, and still returns MAMUTO_EITEM.
 *  7. retries count failures of an item; that a worker was killed from outside is never one, unless it happens
 *     again to an item that runs alone.
 *  8. Functions are pure: they may be run again for the same item, and give the same bytes for a chunk of one item
 *     as within a chunk of many. With once, no item is run twice: one that was lost with its worker fails, "may have
 *     run", and one that failed is not tried again.
 *
 * CAVEATS
 *  - Types are not checked. The signature says what the elements are, in the arrays and in MAMUTO_IN and MAMUTO_OUT alike;
 *    T must be exactly as large as the signature's item.
 *  - A function that writes outside its own output, into another item's result, is not detected. One that writes into its
 *    input dies of SIGSEGV and is named where that is kept or an array of mamuto_alloc or mamuto_attach; of an ordinary array
 *    it changes the worker's copy, unnoticed, for later items, too.
 *  - Where a call is made with .help = 1, the calling thread runs the function too: a crash there is the program's.
 *  - Functions defined in the program itself (they are of the module "main") are not seen unless mamuto_main() is the first
 *    line of main().
 *  - Ordinary arrays are read and written by the workers through the kernel (process_vm_readv). Where the system does not
 *    let them (containers, Yama), they are copied: they take their size again in shared memory, and one that is not
 *    readable may be the program's own SIGSEGV.
 *  - gcc 12 fuses a * b - c * d and a * b + c * d, side by side as in a product of complex numbers, into fused operations
 *    where it vectorises, in spite of -ffp-contract=off. Such a function's last bit may depend on how many items a chunk
 *    has; __attribute__((optimize("no-tree-vectorize"))) or that flag in cflags keeps it from doing so.
 *  - A worker runs in its own process: what a function stores in global variables stays there, and what it prints to stdout
 *    is lost unless it flushes, or, with on_output, ends the line.
 *  - A worker that dies while nothing is in flight is replaced when the loop runs again, at the next call at the latest.
 *  - A mapper is not for the children of fork(): calls there are MAMUTO_EINVAL. mamuto_open() inside a worker is an error
 *    (MAMUTO_ENESTED). wait() and waitpid(-1) of the program see the helper process too; reaping it is harmless.
 *  - An attached file that is made shorter kills the workers that read beyond its end (SIGBUS).
 *  - Opening and loading have no time limit: a compiler or a module's constructor may take as long as it likes.
 *  - The library prints nothing, never exits, and leaves the program's signal handlers alone. valgrind does not see what
 *    workers write: under it, use arrays of mamuto_alloc or calloc for results.
 */
#ifndef MAMUTO_H
#define MAMUTO_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MAMUTO_VERSION "0.1.0"
#define MAMUTO_MAX_ARGS 8
#define MAMUTO_MAX_DIMS 8
#define MAMUTO_MAX_ITEMS ((uint64_t)1 << 48) /* a map has fewer items than this */

/* ---------------------------------------------------------------------------------------------------------------
 * The module side
 * ------------------------------------------------------------------------------------------------------------- */

/* A file of functions is a module; its name is the file's stem ("model" for model.c), and a function's full name is
 * "model.like3".
 *
 *   MAMUTO_FUNCTION(like3, "f8[3], f8[3] -> f8")
 *   {
 *       const double *x = MAMUTO_IN(double[3], 0), *data = MAMUTO_IN(double[3], 1);
 *       double sum = 0;
 *       for (int k = 0; k < 3; k++) { double d = data[k] - x[k]; sum -= d * d / 0.02; }
 *       MAMUTO_OUT(double) = sum;
 *       return 0;
 *   }
 *
 * SIGNATURES
 *   signature = [ type { "," type } ] "->" type      up to 8 inputs, one output; blanks are free
 *   type      = "bytes" | dtype [ "[" shape "]" ]    bytes: u1[*] that is text; no shape: one value
 *   shape     = "*" | dim { "," dim }                "*": one-dimensional, its own length for each item; else C order
 *   dim       = number | name                        number >= 1; up to 8 names, bound by call.dims in order of
 *                                                    first appearance, each >= 1
 *   dtype     = i1 i2 i4 i8 u1 u2 u4 u8 f4 f8 c8 c16 b1         NumPy's codes, in the machine's byte order
 * A struct travels as u1[sizeof]. A variable-length output needs the item form.
 */

typedef struct mamuto_chunk mamuto_chunk_t;

/* One input of a chunk. Fixed-size: item i begins at data + i * stride; a stride of 0 is a broadcast value. Of variable
 * length: item i is the elements offsets[i] to offsets[i + 1] of data. */
typedef struct {
    const char *data;
    ptrdiff_t stride;       /* bytes from one item to the next */
    size_t size;            /* bytes of an item; of variable length: of an element */
    size_t len;             /* elements of an item */
    const int64_t *offsets; /* count + 1 of them; NULL: fixed-size, or broadcast */
} mamuto_chunk_in_t;

/* What a function is given: contiguous items of one map. Written by the library; read through the macros below. */
struct mamuto_chunk {
    uint64_t first;     /* global index of the chunk's first item */
    size_t count;       /* items */
    const size_t *dims; /* values of the signature's named dims */
    char *out;
    ptrdiff_t out_stride; /* bytes */
    size_t out_size;      /* bytes of an item's output; of variable length: of an element */
    uint64_t seed;        /* of the call */
    mamuto_chunk_in_t in[MAMUTO_MAX_ARGS];
    void (*fail)(mamuto_chunk_t *, size_t i, int code, const char *text);
    const void *(*pack)(mamuto_chunk_t *, int k); /* input k as a packed array of count items; NULL: no memory */
    int (*emit)(mamuto_chunk_t *, size_t i, const void *elements, size_t n); /* behind what item i has; 0, or a code */
    void *host;                                                              /* the library's own */
};

/* One function of a module, as the loader finds it. */
typedef struct {
    uint32_t size; /* of this struct */
    uint32_t line;
    const char *name, *file;
    const char *const *text; /* signature, and a one-line description or NULL */
    int form;                /* MAMUTO_FORM_* */
    int (*run)(mamuto_chunk_t *);
} mamuto_descriptor_t;

enum { MAMUTO_FORM_ITEM = 1, MAMUTO_FORM_CHUNK = 2 };

#define MAMUTO_ABI 2
typedef struct {
    uint32_t abi, descriptor_size;
    const mamuto_descriptor_t *const *begin, *const *end; /* the linker section mamuto_functions */
} mamuto_module_t;

/* An item in the item form: which one, and how its inputs are laid out. The layouts are compile-time constants in each
 * of the loops that MAMUTO_FUNCTION makes, so that the compiler can vectorise them. */
typedef struct {
    mamuto_chunk_t *chunk;
    const mamuto_chunk_in_t *in;
    const size_t *dims;
    char *out;
    ptrdiff_t out_stride;
    uint64_t first;
    size_t i;
    int layout0, layout1, layout_rest, layout_out;
} mamuto_item_t;

enum { MAMUTO_LAYOUT_STRIDED, MAMUTO_LAYOUT_PACKED, MAMUTO_LAYOUT_ONE };

static inline __attribute__((always_inline, unused)) ptrdiff_t mamuto_priv_offset(int layout, size_t i, size_t packed,
                                                                                  ptrdiff_t stride)
{
    if (layout == MAMUTO_LAYOUT_ONE)
        return 0;
    return (ptrdiff_t)(i * (layout == MAMUTO_LAYOUT_PACKED ? packed
                                                           : (size_t)stride)); /* unsigned: gcc sees an affine one */
}

static inline __attribute__((always_inline, unused)) const void *mamuto_priv_in(const mamuto_item_t *it, int k,
                                                                                size_t size)
{
    int layout = k == 0 ? it->layout0 : k == 1 ? it->layout1 : it->layout_rest;
    return it->in[k].data + mamuto_priv_offset(layout, it->i, size, it->in[k].stride);
}

static inline __attribute__((always_inline, unused)) const void *mamuto_priv_array(const mamuto_chunk_in_t *in,
                                                                                   size_t i, size_t elem)
{
    if (in->offsets)
        return in->data + in->offsets[i] * (int64_t)elem;
    return in->data + (ptrdiff_t)i * in->stride;
}

static inline __attribute__((always_inline, unused)) size_t mamuto_priv_len(const mamuto_chunk_in_t *in, size_t i)
{
    return in->offsets ? (size_t)(in->offsets[i + 1] - in->offsets[i]) : in->len;
}

static inline __attribute__((always_inline, unused)) int mamuto_priv_fail(const mamuto_item_t *it, int code,
                                                                          const char *text)
{
    it->chunk->fail(it->chunk, it->i, code, text);
    return 0;
}

/* Random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3, SC11), the
 * counter-based generator of Random123. The key is the seed; the counter's low half counts blocks of four words, its high
 * half is the item. */
typedef struct {
    uint32_t key[2], counter[4], word[4];
    int left; /* words of the block that are not used yet */
} mamuto_rng_t;

static inline __attribute__((unused)) void mamuto_philox(const uint32_t key[2], const uint32_t counter[4],
                                                         uint32_t out[4])
{
    uint32_t k0 = key[0], k1 = key[1], c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53 * c0, p1 = (uint64_t)0xCD9E8D57 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

static inline __attribute__((unused)) mamuto_rng_t mamuto_rng(uint64_t seed, uint64_t item)
{
    mamuto_rng_t r;
    memset(&r, 0, sizeof r);
    r.key[0] = (uint32_t)seed;
    r.key[1] = (uint32_t)(seed >> 32);
    r.counter[2] = (uint32_t)item;
    r.counter[3] = (uint32_t)(item >> 32);
    return r;
}

static inline __attribute__((unused)) uint32_t mamuto_random32(mamuto_rng_t *r)
{
    if (r->left == 0) {
        mamuto_philox(r->key, r->counter, r->word);
        if (++r->counter[0] == 0)
            r->counter[1]++;
        r->left = 4;
    }
    return r->word[4 - r->left--];
}

/* 64 random bits. */
static inline __attribute__((unused)) uint64_t mamuto_random(mamuto_rng_t *r)
{
    uint64_t low = mamuto_random32(r);
    return (uint64_t)mamuto_random32(r) << 32 | low;
}

/* Uniform in [0, 1): a multiple of 2^-53. */
static inline __attribute__((unused)) double mamuto_uniform(mamuto_rng_t *r)
{
    return (double)(mamuto_random(r) >> 11) * 0x1p-53;
}

/* Inside MAMUTO_FUNCTION (item form). T is a C type: double, double[3], int32_t[2][3]. */
#define MAMUTO_IN(T, k) (*(const __typeof__(T) *)mamuto_priv_in(mamuto_it, (k), sizeof(T))) /* fixed-size input k */
#define MAMUTO_OUT(T)                                                                                                  \
    (*(__typeof__(T) *)(void *)(mamuto_it->out + mamuto_priv_offset(mamuto_it->layout_out, mamuto_it->i, sizeof(T),    \
                                                                    mamuto_it->out_stride))) /* fixed-size output */
#define MAMUTO_ARRAY(T, k)                                                                                             \
    ((const T *)mamuto_priv_array(&mamuto_it->in[k], mamuto_it->i, sizeof(T))) /* named dims, or variable length */
#define MAMUTO_OUT_ARRAY(T) ((T *)(void *)(mamuto_it->out + (ptrdiff_t)mamuto_it->i * mamuto_it->out_stride))
#define MAMUTO_LEN(k) (mamuto_priv_len(&mamuto_it->in[k], mamuto_it->i)) /* elements of this item's input k */
#define MAMUTO_DIM(j) (mamuto_it->dims[j])                               /* value of the j-th named dim */
#define MAMUTO_INDEX (mamuto_it->first + (uint64_t)mamuto_it->i)         /* uint64_t: the global item index */
/* Appends n elements to this item's variable-length output, any number of times. Not 0: no memory for them; return it. */
#define MAMUTO_EMIT(elements, n) (mamuto_it->chunk->emit(mamuto_it->chunk, mamuto_it->i, (elements), (n)))
/* This item's stream of random numbers, a mamuto_rng_t: the same for the same (seed, item), wherever it runs. */
#define MAMUTO_RNG() (mamuto_rng(mamuto_it->chunk->seed, MAMUTO_INDEX))
/* This item failed: returns from the function. code: not 0; text: one sentence, at most 200 bytes are copied. */
#define MAMUTO_FAIL(code, text) return mamuto_priv_fail(mamuto_it, (code), (text))

/* Inside MAMUTO_KERNEL (chunk form): MAMUTO_COUNT items at once. MAMUTO_DIM is MAMUTO_KERNEL_DIM there. */
#define MAMUTO_COUNT (mamuto_ck->count)
#define MAMUTO_FIRST (mamuto_ck->first) /* uint64_t: global index of the chunk's first item */
#define MAMUTO_KERNEL_DIM(j) (mamuto_ck->dims[j])
#define MAMUTO_KERNEL_LEN(k) (mamuto_ck->in[k].len) /* elements of an item's input k */
/* Input k as a plain array of MAMUTO_COUNT items of type T. What is strided or broadcast is packed, only when asked; NULL: no
 * memory for that. */
#define MAMUTO_PACKED(T, k)                                                                                            \
    ((const __typeof__(T) *)(mamuto_ck->in[k].stride == (ptrdiff_t)mamuto_ck->in[k].size                               \
                                 ? (const void *)mamuto_ck->in[k].data                                                 \
                                 : mamuto_ck->pack(mamuto_ck, (k))))
#define MAMUTO_PACKED_OUT(T) ((__typeof__(T) *)(void *)mamuto_ck->out)
/* Pointer to the one value of a broadcast input; NULL where input k is scattered. */
#define MAMUTO_ONE(T, k) ((const __typeof__(T) *)(mamuto_ck->in[k].stride ? NULL : (const void *)mamuto_ck->in[k].data))
#define MAMUTO_FAIL_AT(i, code, text) (mamuto_ck->fail(mamuto_ck, (i), (code), (text)))
#define MAMUTO_KERNEL_RNG(i) (mamuto_rng(mamuto_ck->seed, MAMUTO_FIRST + (uint64_t)(i))) /* of the chunk's item i */

#if defined __clang__ /* clang's counterpart warns wherever it cannot vectorise; it checks for overlap at run time */
#define MAMUTO_PRIV_IVDEP
#else
#define MAMUTO_PRIV_IVDEP _Pragma("GCC ivdep") /* a result may not overlap an argument (rule 2) */
#endif

#define MAMUTO_PRIV_DESCRIBE(name_, form_, run_, ...)                                                                  \
    static const char *const mamuto_text_##name_[2] = { __VA_ARGS__ };                                                 \
    static const mamuto_descriptor_t mamuto_descriptor_##name_ = {                                                     \
        (uint32_t)sizeof(mamuto_descriptor_t), __LINE__, #name_, __FILE__, mamuto_text_##name_, form_, run_            \
    };                                                                                                                 \
    __attribute__((section("mamuto_functions"), used,                                                                  \
                   retain)) static const mamuto_descriptor_t *const mamuto_entry_##name_ = &mamuto_descriptor_##name_;

#define MAMUTO_PRIV_LOOP(name_, l0_, l1_, rest_, out_)                                                                 \
    do {                                                                                                               \
        mamuto_item_t it = { mamuto_ck, c.in, c.dims, c.out, c.out_stride, c.first, 0, l0_, l1_, rest_, out_ };        \
        MAMUTO_PRIV_IVDEP                                                                                              \
        for (size_t i = 0; i < c.count; i++) {                                                                         \
            it.i = i;                                                                                                  \
            int code = mamuto_item_##name_(&it);                                                                       \
            if (code)                                                                                                  \
                mamuto_ck->fail(mamuto_ck, i, code, NULL);                                                             \
        }                                                                                                              \
    } while (0)

/* A broadcast value in a local copy: the compiler sees that no result is stored over it, and keeps it in registers. */
#define MAMUTO_PRIV_ONE_BYTES 256
static inline __attribute__((always_inline, unused)) void mamuto_priv_keep(mamuto_chunk_in_t *in, char *one)
{
    memcpy(one, in->data, in->size);
    in->data = one;
}

/* MAMUTO_FUNCTION(name, "signature"[, "description"]) { … return 0; }: the item form. The body computes one item;
 * returning anything but 0 means that this item failed, with that code. */
#define MAMUTO_FUNCTION(name_, ...)                                                                                    \
    static inline __attribute__((always_inline)) int mamuto_item_##name_(const mamuto_item_t *);                       \
    static int mamuto_run_##name_(mamuto_chunk_t *mamuto_ck)                                                           \
    {                                                                                                                  \
        mamuto_chunk_t c = *mamuto_ck;                                                                                 \
        __attribute__((aligned(64))) char one[MAMUTO_PRIV_ONE_BYTES];                                                  \
        switch (mamuto_priv_layouts(mamuto_ck)) {                                                                      \
        case 0:                                                                                                        \
            MAMUTO_PRIV_LOOP(name_, MAMUTO_LAYOUT_PACKED, MAMUTO_LAYOUT_PACKED, MAMUTO_LAYOUT_STRIDED,                 \
                             MAMUTO_LAYOUT_PACKED);                                                                    \
            break;                                                                                                     \
        case 1:                                                                                                        \
            mamuto_priv_keep(&c.in[0], one);                                                                           \
            MAMUTO_PRIV_LOOP(name_, MAMUTO_LAYOUT_ONE, MAMUTO_LAYOUT_PACKED, MAMUTO_LAYOUT_STRIDED,                    \
                             MAMUTO_LAYOUT_PACKED);                                                                    \
            break;                                                                                                     \
        case 2:                                                                                                        \
            mamuto_priv_keep(&c.in[1], one);                                                                           \
            MAMUTO_PRIV_LOOP(name_, MAMUTO_LAYOUT_PACKED, MAMUTO_LAYOUT_ONE, MAMUTO_LAYOUT_STRIDED,                    \
                             MAMUTO_LAYOUT_PACKED);                                                                    \
            break;                                                                                                     \
        default:                                                                                                       \
            MAMUTO_PRIV_LOOP(name_, MAMUTO_LAYOUT_STRIDED, MAMUTO_LAYOUT_STRIDED, MAMUTO_LAYOUT_STRIDED,               \
                             MAMUTO_LAYOUT_STRIDED);                                                                   \
        }                                                                                                              \
        return 0;                                                                                                      \
    }                                                                                                                  \
    MAMUTO_PRIV_DESCRIBE(name_, MAMUTO_FORM_ITEM, mamuto_run_##name_, __VA_ARGS__)                                     \
    static inline                                                                                                      \
        __attribute__((always_inline)) int mamuto_item_##name_(const mamuto_item_t *mamuto_it __attribute__((unused)))

/* MAMUTO_KERNEL(name, "signature"[, "description"]) { … return 0; }: the chunk form, for an author's own loop, BLAS or
 * SIMD. Returning anything but 0 means that every item of the chunk failed, with that code. */
#define MAMUTO_KERNEL(name_, ...)                                                                                      \
    static int mamuto_run_##name_(mamuto_chunk_t *);                                                                   \
    MAMUTO_PRIV_DESCRIBE(name_, MAMUTO_FORM_CHUNK, mamuto_run_##name_, __VA_ARGS__)                                    \
    static int mamuto_run_##name_(mamuto_chunk_t *mamuto_ck __attribute__((unused)))

/* 0: inputs 0 and 1 packed; 1: input 0 one small value; 2: input 1 one small value; 3: anything else. */
static inline __attribute__((unused)) int mamuto_priv_layouts(const mamuto_chunk_t *c)
{
    int layouts = 0;
    if (c->out_stride != (ptrdiff_t)c->out_size)
        return 3;
    for (int k = 0; k < 2; k++) {
        if (c->in[k].offsets)
            return 3;
        if (c->in[k].stride == 0 && c->in[k].size && c->in[k].size <= MAMUTO_PRIV_ONE_BYTES)
            layouts |= 1 << k;
        else if (c->in[k].stride != (ptrdiff_t)c->in[k].size)
            return 3;
    }
    return layouts;
}

#ifndef MAMUTO_NO_MODULE /* the library's own sources have no functions to offer */
extern const mamuto_descriptor_t *const __start_mamuto_functions[] __attribute__((weak, visibility("hidden")));
extern const mamuto_descriptor_t *const __stop_mamuto_functions[] __attribute__((weak, visibility("hidden")));
extern const mamuto_module_t mamuto_module __attribute__((weak, visibility("default")));
__attribute__((used)) const mamuto_module_t mamuto_module = { MAMUTO_ABI, (uint32_t)sizeof(mamuto_descriptor_t),
                                                              __start_mamuto_functions, __stop_mamuto_functions };
#endif

/* ---------------------------------------------------------------------------------------------------------------
 * The program side
 * ------------------------------------------------------------------------------------------------------------- */

#ifndef MAMUTO_API
#define MAMUTO_API __attribute__((visibility("default")))
#endif

/* Error codes: name, number, meaning. Every call returns 0 or one of these. */
#define MAMUTO_ERRORS(X)                                                                                               \
    X(EINVAL, -5001, "invalid argument, or a call that is not allowed here")                                           \
    X(EMODULE, -5002, "the module cannot be loaded")                                                                   \
    X(ECOMPILE, -5003, "the module does not compile")                                                                  \
    X(EFUNCTION, -5004, "no such function")                                                                            \
    X(ESIGNATURE, -5005, "the signature is wrong, or of a kind that cannot be mapped")                                 \
    X(EARGS, -5006, "wrong number or kind of arguments")                                                               \
    X(ELENGTH, -5007, "arguments of unequal length")                                                                   \
    X(EALIGN, -5008, "an array is not aligned for its elements")                                                       \
    X(EOVERLAP, -5009, "the result overlaps an argument")                                                              \
    X(ENOMEM, -5010, "not enough memory")                                                                              \
    X(ECONFIG, -5011, "the config is wrong")                                                                           \
    X(EHOST, -5012, "a host failed")                                                                                   \
    X(ENOHOST, -5013, "no host is left")                                                                               \
    X(EITEM, -5014, "an item failed")                                                                                  \
    X(ECRASH, -5015, "an item's worker died")                                                                          \
    X(ETIMEOUT, -5016, "an item took too long")                                                                        \
    X(ECANCELED, -5017, "cancelled")                                                                                   \
    X(EEMPTY, -5018, "nothing to reduce")                                                                              \
    X(ENESTED, -5019, "a mapper cannot be opened inside a worker")                                                     \
    X(ESIZE, -5020, "a size is too large")                                                                             \
    X(EPROTOCOL, -5021, "a process of the mapper broke the protocol")                                                  \
    X(EVERSION, -5022, "library and helper program are of different builds")                                           \
    X(ESYSTEM, -5023, "a system call failed")

#define MAMUTO_PRIV_ENUM(name_, number_, text_) MAMUTO_##name_ = (number_),
enum { MAMUTO_ERRORS(MAMUTO_PRIV_ENUM) MAMUTO_OK = 0 };
#undef MAMUTO_PRIV_ENUM

#define MAMUTO_NO_ITEM UINT64_MAX

/* An error: code, and a whole sentence that says what, where, and what would be right. A struct that is handed to a
 * call should be zeroed ({ 0 }): the first error wins, a filled one is left as it is. NULL where err is expected: not
 * wanted. */
typedef struct {
    int code;      /* MAMUTO_E*, 0: none */
    int item_code; /* what the function returned, for MAMUTO_EITEM */
    int signal;    /* what killed the worker, for MAMUTO_ECRASH and MAMUTO_ETIMEOUT; 0: it called exit() */
    int worker;    /* number of the worker, -1: none */
    int line;      /* of the config or source, 0: none */
    uint64_t item; /* MAMUTO_NO_ITEM: none */
    char host[64], file[256], text[512];
} mamuto_error_t;

typedef struct mamuto mamuto_t;           /* a mapper: workers, modules, memory */
typedef struct mamuto_map_s mamuto_map_t; /* one map or reduction in flight */
typedef struct mamuto_kept mamuto_kept_t; /* data that the hosts keep */
struct uv_loop_s;                         /* uv_loop_t of libuv's uv.h */

/* One argument of a call; made by the functions below. */
typedef struct {
    int kind; /* MAMUTO_ARG_*; 0 ends the list */
    const void *data;
    size_t count;           /* items; of a broadcast of variable length: elements */
    ptrdiff_t stride;       /* bytes */
    const int64_t *offsets; /* in elements, count + 1 of them */
    const mamuto_kept_t *kept;
    uintptr_t reserved[2];
} mamuto_arg_t;

enum {
    MAMUTO_ARG_NONE,
    MAMUTO_ARG_SCATTER,
    MAMUTO_ARG_BROADCAST,
    MAMUTO_ARG_STRIDED,
    MAMUTO_ARG_SCATTER_VAR,
    MAMUTO_ARG_BROADCAST_VAR,
    MAMUTO_ARG_RESIDENT
};

static inline __attribute__((unused)) mamuto_arg_t mamuto_priv_arg(int kind, const void *data, size_t count)
{
    mamuto_arg_t arg;
    memset(&arg, 0, sizeof arg);
    arg.kind = kind;
    arg.data = data;
    arg.count = count;
    return arg;
}

/* An array of count items, one for each call of the function: item i is the i-th. Packed, in C order. */
static inline mamuto_arg_t mamuto_scatter(const void *data, size_t count)
{
    return mamuto_priv_arg(MAMUTO_ARG_SCATTER, data, count);
}

/* The same, where item i begins at data + i * stride_bytes: a column of a matrix, a field of an array of structs. The
 * stride may be negative (data is item 0 all the same), or 0; it is a multiple of the element's alignment. */
static inline mamuto_arg_t mamuto_scatter_strided(const void *data, size_t count, ptrdiff_t stride_bytes)
{
    mamuto_arg_t arg = mamuto_priv_arg(MAMUTO_ARG_STRIDED, data, count);
    arg.stride = stride_bytes;
    return arg;
}

/* Items of a length each ("f8[*]", "bytes"): item i is the elements offsets[i] to offsets[i + 1] of data. There are
 * count + 1 offsets, none less than the one before. */
static inline mamuto_arg_t mamuto_scatter_var(const void *data, const int64_t *offsets, size_t count)
{
    mamuto_arg_t arg = mamuto_priv_arg(MAMUTO_ARG_SCATTER_VAR, data, count);
    arg.offsets = offsets;
    return arg;
}

/* One value that every item gets; its size is the signature's. */
static inline mamuto_arg_t mamuto_broadcast(const void *value)
{
    return mamuto_priv_arg(MAMUTO_ARG_BROADCAST, value, 0);
}

/* One value of len elements, for an input of variable length, that every item gets. */
static inline mamuto_arg_t mamuto_broadcast_var(const void *data, size_t len)
{
    return mamuto_priv_arg(MAMUTO_ARG_BROADCAST_VAR, data, len);
}

/* What mamuto_keep has put on the hosts: scattered or broadcast, as it was kept. */
static inline mamuto_arg_t mamuto_resident(const mamuto_kept_t *kept)
{
    mamuto_arg_t arg = mamuto_priv_arg(MAMUTO_ARG_RESIDENT, NULL, 0);
    arg.kept = kept;
    return arg;
}

/* A variable-length result, made by the library: item i is the elements offsets[i] to offsets[i + 1] of data. Both lie in
 * one array of the mapper: mamuto_free(m, v.data) frees both. Filled in on success, and with MAMUTO_ON_ERROR_SKIP, where
 * the failed items are empty; else untouched. While it is made, the elements are there twice. What a map may emit is
 * what it emitted the last time, or half of the memory that there is; beyond it, MAMUTO_EMIT is MAMUTO_ENOMEM. */
typedef struct {
    void *data;
    int64_t *offsets; /* count + 1, the first is 0 */
    size_t count;
} mamuto_var_t;

/* What has landed: count items from first on, which one worker ran between two moments of CLOCK_MONOTONIC; they are
 * settled, failed ones among them. worker -1: the calling thread, or not known any more (it died, or had too much to
 * tell); then the moments are wider. */
typedef struct {
    uint64_t first, count;
    const char *host;
    int worker;
    uint64_t start_ns, end_ns;
} mamuto_span_t;

typedef struct {
    uint64_t done, failed, total; /* items; done: settled, failed ones among them */
    uint64_t bytes_out, bytes_in; /* of the stream to other hosts */
    double seconds;               /* since the call */
    double rate, eta;             /* items a second since it began to run; seconds to go, 0 where it cannot be told */
} mamuto_progress_t;

enum { MAMUTO_ON_ERROR_FAIL = 0, MAMUTO_ON_ERROR_SKIP = 1 };

/* A call of mamuto_map or mamuto_reduce. Zero what you do not need. */
typedef struct {
    const char *function;               /* "module.name"; "name" alone where one module has it */
    mamuto_arg_t args[MAMUTO_MAX_ARGS]; /* as many as the signature has inputs */
    size_t count;                       /* items; needed only if nothing is scattered, else 0 or the same number */
    size_t dims[MAMUTO_MAX_DIMS];       /* the signature's named dims, in order of first appearance */
    void *result;                       /* count items of the signature's output */
    /* Bytes from one result to the next; 0: packed. What lies between is untouched, so results of ordinary memory that lie
     * apart are stored one by one: 0.6 µs an item. */
    ptrdiff_t result_stride;
    mamuto_var_t *result_var; /* instead, where the output is of variable length: filled in before on_done */
    const char *fold;         /* mamuto_reduce: a function "T, T -> T", T the output of function */
    void *value;              /* mamuto_reduce: the one T that comes out */
    const void *if_empty;     /* mamuto_reduce: value where there is nothing to reduce; NULL: MAMUTO_EEMPTY */
    uint64_t seed;            /* of MAMUTO_RNG */
    int priority;             /* of maps in flight, those with more are served first; -100 to 100 */
    int item_timeout_ms;      /* 0: none; an item that takes longer fails with MAMUTO_ETIMEOUT; not with help */
    int retries;              /* how often an item that failed is tried again; 0: it is run once */
    int once;                 /* 1: no item is run twice, for functions with effects of their own (rule 8) */
    int on_error;             /* MAMUTO_ON_ERROR_FAIL: end at the first failed item; _SKIP: run all others */
    int help;                 /* 1: the calling thread works too (in _wait; elsewhere it is ignored) */
    void *data;               /* yours: mamuto_map_data() */
    void (*on_done)(mamuto_map_t *map, int status, const mamuto_error_t *err);
    /* About 10 times a second until the map is done, also when nothing has landed or it waits for others. (With help:
     * between two chunks of the calling thread.) */
    void (*on_progress)(mamuto_map_t *map, const mamuto_progress_t *progress);
    /* What has landed since the last time, each item once, before on_done; at most 100 times a second, and once at the
     * end. Of a map that ends early: only what is stored. Of a reduction: all of it at its end. */
    void (*on_spans)(mamuto_map_t *map, const mamuto_span_t *spans, size_t n);
    /* The failed items in order, but no more than 1,000 of a map, before on_done. Who needs all puts a mark into the output.
     * With MAMUTO_ON_ERROR_FAIL: those that had failed when the map ended, which may be several. */
    void (*on_item_error)(mamuto_map_t *map, const mamuto_error_t *err);
    uintptr_t reserved[16];
} mamuto_call_t;

/* Data that the hosts are to keep. */
typedef struct {
    const char *type; /* as in a signature: "f8[3]", "f8[d]", "bytes" */
    mamuto_arg_t arg; /* any kind but resident */
    /* Of the type's named dims, in order of first appearance. A call that uses what is kept gives its own signature's dims
     * in its own call.dims, those that this argument binds, too; other values than these are EARGS. */
    size_t dims[MAMUTO_MAX_DIMS];
    void *data; /* yours: mamuto_kept_data() */
    void (*on_kept)(mamuto_kept_t *kept, int status, const mamuto_error_t *err);
    uintptr_t reserved[8];
} mamuto_keep_t;

/* A host of a mapper. The strings live as long as the mapper, reason until the next call. */
typedef struct {
    const char *name;  /* of the config; "localhost" is this machine */
    const char *state; /* "starting", "up", "lost" */
    const char *
        reason; /* why it is lost (for good, or until it is back); up, why its stream is not as it might be; else NULL */
    int cores;  /* workers */
    uint64_t items; /* settled there */
    uint64_t bytes_out, bytes_in;
    double rtt_us;         /* 0: it is this machine */
    double busy;           /* of the workers' time since it is up, so much went into items: 0 to 1 */
    const char *transport; /* "shm"; "tcp+tls", "tcp", "ssh", "launch" (in that channel); NULL: it is not up */
    double login_ms;       /* from the beginning of its last launch until its agent was there; 0: it has none */
} mamuto_host_t;

/* What mamuto_open is given. NULL instead: this machine, all cores, no modules. */
typedef struct {
    const char *config;         /* path of a JSON config; NULL: $MAMUTO_CONFIG, else this machine with all cores */
    const char *config_text;    /* the config itself */
    const char *const *modules; /* paths of .c and .so files, ended by NULL; loaded after the config's own */
    struct uv_loop_s *loop; /* yours, for mamuto_open; NULL: a loop of its own, for _wait forms and mamuto_dispatch */
    void *data;             /* yours: mamuto_data() */
    void (*on_open)(mamuto_t *m, int status, const mamuto_error_t *err);
    /* A host has joined, was lost (with its reason), or is back. */
    void (*on_host)(mamuto_t *m, const mamuto_host_t *host);
    /* A line that a worker has printed (fd 1 or 2), without its end; longer than 4,096 bytes: in pieces. What the items of
     * a map have printed comes before its on_done, what a worker has left without an end when it dies. Workers' stdout is
     * line-buffered then. Who prints faster than the loop reads is held up; the loop is not. host is "localhost", or of the
     * config; line is not ended by a 0, and is yours for the call. NULL: what workers print goes where the program's own
     * output goes. */
    void (*on_output)(mamuto_t *m, const char *host, int worker, int fd, const char *line, size_t n);
    uintptr_t reserved[16];
} mamuto_options_t;

/* What is known of a function. The strings live as long as the mapper. */
typedef struct {
    const char *name, *module, *signature, *doc; /* doc: the description, or NULL */
    size_t n_in, n_dims;
    const char *dims[MAMUTO_MAX_DIMS];
    int form; /* MAMUTO_FORM_* */
} mamuto_function_t;

/* Opens a mapper: reads the config, starts the workers, builds and loads the modules.
 *   m        out: the mapper; to be closed by mamuto_close, also when on_open reports an error
 *   options  borrowed for the call; with your loop, or without one and with on_open, which comes from mamuto_dispatch
 *            then; a module's path is relative to the working directory
 * Returns at once; on_open(m, 0 or a code, err or NULL) comes from the loop. A mapper that is closed before it is open gets
 * on_open once, with MAMUTO_ECANCELED, then on_close.
 * Errors: EINVAL (neither loop nor on_open, both config and config_text, a closed standard stream), ECONFIG (with file,
 * line, key and what would be right), ENESTED, ENOMEM, ESYSTEM; by on_open: also ECONFIG (the workdir is not there),
 * EMODULE, ECOMPILE, ESIGNATURE, EHOST (the helper program is not found or dies; a required host does not come up), ENOHOST
 * (none of them does), EVERSION. A host that does not come up is done without, unless it is required. */
MAMUTO_API int mamuto_open(mamuto_t **m, const mamuto_options_t *options, mamuto_error_t *err);
/* The same without a loop of yours, and returns when the mapper is open; options NULL: defaults. On failure there is
 * nothing to close. */
MAMUTO_API int mamuto_open_wait(mamuto_t **m, const mamuto_options_t *options, mamuto_error_t *err);

/* Stops the workers, ends the maps and keeps in flight with MAMUTO_ECANCELED, then frees all memory of mamuto_alloc,
 * mamuto_attach and mamuto_keep, then calls on_close(data), with the data of mamuto_open. m is gone then. m may be NULL in _wait. */
MAMUTO_API int mamuto_close(mamuto_t *m, void (*on_close)(void *data));
MAMUTO_API int mamuto_close_wait(mamuto_t *m);

/* Builds (a .c) and loads a module, as options.modules does. Module names are file stems, and each is there once.
 * A signature's item of variable length needs the item form: a MAMUTO_KERNEL with one is ESIGNATURE.
 * Errors: EMODULE (missing, truncated, of another architecture or ABI, no functions, name taken), ECOMPILE (with the
 * compiler's own message), ESIGNATURE (with the column), ECRASH (the module's constructor died), ECANCELED (closed
 * meanwhile), EINVAL (not open, an empty path), ENOMEM (also: more than 256 modules), ESYSTEM, EHOST (the workers are gone,
 * or the process that forks them has died and is just being started anew: try again). */
MAMUTO_API int mamuto_load(mamuto_t *m, const char *path,
                           void (*on_loaded)(mamuto_t *m, int status, const mamuto_error_t *err), mamuto_error_t *err);
MAMUTO_API int mamuto_load_wait(mamuto_t *m, const char *path, mamuto_error_t *err);

/* Looks a function up. Errors: EFUNCTION, with the nearest name there is. */
MAMUTO_API int mamuto_function(mamuto_t *m, const char *name, mamuto_function_t *info, mamuto_error_t *err);

/* All functions there are, by module in the order of loading, and by line: how many; the first max of them in infos, which
 * may be NULL where max is 0. Of a mapper that is not open yet: those of the modules that are loaded. */
MAMUTO_API size_t mamuto_functions(mamuto_t *m, mamuto_function_t *infos, size_t max);
/* All hosts of the mapper: how many; the first max of them in hosts, which may be NULL where max is 0. */
MAMUTO_API size_t mamuto_hosts(mamuto_t *m, mamuto_host_t *hosts, size_t max);

/* Maps a function over its scattered arguments. Same result as this loop:
 *   for (i = 0; i < n; i++) result[i] = function(args[0][i], args[1][i], …);     (a broadcast argument: args[k][0])
 *   call  borrowed for the call; its arrays until on_done
 *   map   out: the handle, valid until on_done returns; may be NULL
 * Does not block. on_done(map, status, err) comes from the loop, exactly once.
 * Errors, before anything runs: EFUNCTION, ESIGNATURE, EARGS (number, kind, NULL), ELENGTH, EALIGN, EOVERLAP, ESIZE,
 * EINVAL (closed mapper, a value out of range), ENOMEM, EHOST (the workers are gone). By on_done: EITEM, ECRASH, ETIMEOUT (the first
 * failed item with SKIP; with FAIL, the first of those that had failed when the map ended),
 * ECANCELED, EHOST (the workers cannot be kept alive), EARGS (an array is not readable), ENOMEM (for copies of arrays, for
 * a result of variable length), EMODULE (a worker cannot load the module), EPROTOCOL (a function has damaged what the
 * workers know of the results of others). */
MAMUTO_API int mamuto_map(mamuto_t *m, const mamuto_call_t *call, mamuto_map_t **map, mamuto_error_t *err);
MAMUTO_API int mamuto_map_wait(mamuto_t *m, const mamuto_call_t *call, mamuto_error_t *err);

/* Maps, and folds the items' results into one: fold(… fold(fold(x0, x1), x2) …, x63) for each 64 items in a row, and the
 * results of those, in order, up a binary tree: node j of level l is fold(node 2j, node 2j + 1) of level l - 1, or the one
 * of them that there is. So the value is bit for bit the same for any number of workers. The workers fold; of one item,
 * the value is its result.
 *   call.function  NULL: the one argument's items are folded themselves
 *   call.fold      "T, T -> T", where T is the function's output, of fixed size
 *   call.value     out: one T; may not overlap an argument
 *   call.result    the items' results, too, if it is set; not without a function
 * A fold that fails ends the reduction; retries and once are for the items alone. With item_timeout_ms, a group of 64 folds
 * may take 64 times as long.
 * With MAMUTO_ON_ERROR_SKIP failed items are left out, and MAMUTO_EITEM is returned. Errors: as mamuto_map, EINVAL also
 * where call.fold is NULL, ESIGNATURE where it does not fold what comes, and MAMUTO_EEMPTY where there is nothing to reduce and no call.if_empty. */
MAMUTO_API int mamuto_reduce(mamuto_t *m, const mamuto_call_t *call, mamuto_map_t **map, mamuto_error_t *err);
MAMUTO_API int mamuto_reduce_wait(mamuto_t *m, const mamuto_call_t *call, mamuto_error_t *err);

/* Copies data to where the workers are, once for many calls: mamuto_resident() is the argument, and is what the same
 * array in place would be, scattered or broadcast. An array of no items is legal.
 *   keep  borrowed for the call; its array until on_kept
 *   kept  out: the handle, at once; may be NULL where there is an on_kept, which is given it
 * Does not block: a thread copies (in _wait, the calling one). on_kept(kept, 0 or a code, err or NULL) comes from the
 * loop, exactly once. From then on calls may use what is kept, if they are of this mapper and take this very type there;
 * with a code, nothing is kept, and the handle is gone when on_kept returns (in _wait, *kept is left alone).
 * Errors: ESIGNATURE (type, with the column), EARGS (kind, dims, NULL), EALIGN, ELENGTH, ESIZE, EINVAL, ENOMEM, ESYSTEM (no
 * thread), EHOST (the workers are gone); by on_kept: ENOMEM (with what there is), EARGS (the array is not readable),
 * ECANCELED (forgotten or closed meanwhile), EHOST. */
MAMUTO_API int mamuto_keep(mamuto_t *m, const mamuto_keep_t *keep, mamuto_kept_t **kept, mamuto_error_t *err);
MAMUTO_API int mamuto_keep_wait(mamuto_t *m, const mamuto_keep_t *keep, mamuto_kept_t **kept, mamuto_error_t *err);
/* Legal at any time and in any callback until the mapper is closed, with which all that is kept goes; once. Its memory is
 * freed when the maps in flight that use it have ended; it is in no further call. Before on_kept: that comes with
 * MAMUTO_ECANCELED. kept may be NULL. Errors: EINVAL, it was forgotten before, but maps still use it, or it is another
 * process'. */
MAMUTO_API int mamuto_forget(mamuto_kept_t *kept);

/* Ends a map early: on_done comes with MAMUTO_ECANCELED, unless it had ended before. */
MAMUTO_API int mamuto_cancel(mamuto_map_t *map);

/* count * size bytes on a 64-byte boundary, not initialised, that the workers use in place: no copy of arguments or
 * results. Takes time in proportion to the bytes when memory is new (about 0.7 s a GB), none when it is reused.
 * NULL on failure. Errors: ESIZE (overflow, or above RLIMIT_FSIZE), ENOMEM (with what there is). */
MAMUTO_API void *mamuto_alloc(mamuto_t *m, size_t count, size_t size, mamuto_error_t *err);
/* Gives it back; not while a map uses it or it is being kept. p may be NULL. Errors: EINVAL, p is not of this mapper, or is in use. */
MAMUTO_API int mamuto_free(mamuto_t *m, void *p);
/* Maps bytes of a file, read-only, from offset (a multiple of the page size), for this program and the workers: an
 * argument in place. The fd may be closed afterwards. Undone by mamuto_free. Errors: EINVAL (offset, bytes beyond the
 * file's end, not open), ENOMEM (also: 64 files are attached), ESYSTEM, EHOST (as of mamuto_load). */
MAMUTO_API int mamuto_attach(mamuto_t *m, int fd, int64_t offset, size_t bytes, const void **p, mamuto_error_t *err);

/* For a mapper without a loop of yours (options.loop NULL) in a program with a loop of another kind (epoll, poll, GLib):
 *   watch mamuto_fd, always the same one, for reading, and wait at most mamuto_timeout_ms: -1 is for ever;
 *   then call mamuto_dispatch, which calls back what is due and never blocks; too early, or too often, it does no harm.
 * The timeout is asked for anew before each wait: calls of the mapper change it. An idle mapper wakes nobody: its timeout
 * is -1, and the descriptor is not readable. mamuto_close is ended by mamuto_dispatch, too: m is gone when the dispatch
 * that has called on_close returns (without an on_close: mamuto_close_wait ends it).
 * -1, and EINVAL of mamuto_dispatch: a mapper on a loop of yours; for mamuto_dispatch also a callback of the mapper. */
MAMUTO_API int mamuto_fd(const mamuto_t *m);
MAMUTO_API int mamuto_timeout_ms(const mamuto_t *m);
MAMUTO_API int mamuto_dispatch(mamuto_t *m);

/* A config, to be written as JSON. */
typedef struct {
    const char *const *hosts; /* labels; "localhost" is this machine */
    const int *cores;         /* of each host; 0: all of them; NULL: all of each */
    size_t n_hosts;           /* 0: this machine */
    const char *workdir;      /* of the workers; a relative one is from the config's folder. NULL: stay */
    int nice;                 /* 0 to 19 */
    uintptr_t reserved[8];
} mamuto_config_t;

/* Writes it to a new file of mode 0600. Errors: EINVAL (a value that a config cannot have, a label twice, text that is
 * not UTF-8), ECONFIG (the file is there already, and is kept), ENOMEM, ESYSTEM (it cannot be made or written; nothing
 * of it is left). Blocks for the time of a small file. */
MAMUTO_API int mamuto_config_write(const char *path, const mamuto_config_t *config, mamuto_error_t *err);

MAMUTO_API void *mamuto_data(const mamuto_t *m);
MAMUTO_API void *mamuto_kept_data(const mamuto_kept_t *kept);
MAMUTO_API void *mamuto_map_data(const mamuto_map_t *map);
MAMUTO_API const char *mamuto_strerror(int code); /* a static text, "unknown error" for others */
MAMUTO_API const char *mamuto_version(void);

/* Serves the workers of a program whose functions are in the program itself: the process that forks them is the
 * program, started again. The first line of main(): it returns only in the program proper. */
MAMUTO_API void mamuto_main_with(const mamuto_module_t *module, int argc, char **argv);
#ifndef MAMUTO_NO_MODULE
static inline __attribute__((unused)) void mamuto_main(int argc, char **argv)
{
    mamuto_main_with(&mamuto_module, argc, argv);
}
#endif

#ifdef __cplusplus
}
#endif
#endif
