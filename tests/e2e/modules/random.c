/* The functions of the random calls, in both forms; what they compute, and which items fail, is in random.h. */
#include "random.h"

#include <fcntl.h>
#include <mamuto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Has this item of this call come here before? */
static int is_first_time(uint64_t seed, uint64_t item)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/mark-%llx-%llu", getenv("E2E_DIR") ? getenv("E2E_DIR") : "/nonexistent",
             (unsigned long long)seed, (unsigned long long)item);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* What an item does that fails. Not 0: it fails with this code. */
static int be_faulty(enum random_fault fault, uint64_t seed, uint64_t item)
{
    if (fault == RANDOM_CRASH)
        raise(SIGSEGV);
    if (fault == RANDOM_EXIT)
        exit(RANDOM_EXIT_STATUS);
    while (fault == RANDOM_HANG)
        pause();
    if (fault == RANDOM_AT_FIRST)
        return is_first_time(seed, item) ? random_code(item) : 0;
    return random_code(item);
}

/* In the item form: what a failed item leaves behind must not be seen. */
#define FAULT() FAULT_AFTER(memset(MAMUTO_OUT_ARRAY(char), 0xee, mamuto_it->chunk->out_size))
#define FAULT_AFTER(leave_)                                                                                            \
    do {                                                                                                               \
        uint64_t seed_ = mamuto_it->chunk->seed;                                                                       \
        enum random_fault fault_ = random_fault(seed_, MAMUTO_INDEX);                                                  \
        int code_ = 0;                                                                                                 \
        if (fault_ != RANDOM_FINE && (code_ = be_faulty(fault_, seed_, MAMUTO_INDEX)) != 0) {                          \
            (void)(leave_);                                                                                            \
            if (fault_ == RANDOM_TEXT)                                                                                 \
                MAMUTO_FAIL(code_, RANDOM_FAULT_TEXT);                                                                 \
            return code_;                                                                                              \
        }                                                                                                              \
    } while (0)

#define IT .dims = mamuto_it->dims, .seed = mamuto_it->chunk->seed, .index = MAMUTO_INDEX

/* The chunk form of any function: inputs of an even number packed, the others where they are. */
static int run_chunk(mamuto_chunk_t *mamuto_ck, int n_in, void (*compute)(const struct random_item *, void *))
{
    const char *packed[8] = { NULL };
    for (int k = 0; k < n_in; k += 2) {
        packed[k] = (const char *)MAMUTO_PACKED(char, k);
        if (!packed[k])
            return 99;
    }
    for (size_t i = 0; i < MAMUTO_COUNT; i++) {
        struct random_item it = { .dims = mamuto_ck->dims, .seed = mamuto_ck->seed, .index = MAMUTO_FIRST + i };
        char *out = MAMUTO_PACKED_OUT(char) + i * mamuto_ck->out_size;
        for (int k = 0; k < n_in; k++) {
            const char *one = MAMUTO_ONE(char, k);
            it.in[k] = packed[k] ? packed[k] + i * mamuto_ck->in[k].size
                       : one     ? one
                                 : mamuto_ck->in[k].data + (ptrdiff_t)i * mamuto_ck->in[k].stride;
            it.len[k] = MAMUTO_KERNEL_LEN(k);
        }
        enum random_fault fault = random_fault(it.seed, it.index);
        int code = fault ? be_faulty(fault, it.seed, it.index) : 0;
        if (code) {
            memset(out, 0xee, mamuto_ck->out_size);
            MAMUTO_FAIL_AT(i, code, fault == RANDOM_TEXT ? RANDOM_FAULT_TEXT : NULL);
        } else
            compute(&it, out);
    }
    return 0;
}

#define CHUNK(name_, n_in_, signature_)                                                                                \
    MAMUTO_KERNEL(name_##_k, signature_) { return run_chunk(mamuto_ck, n_in_, random_##name_); }

#define ADD "f8, f8 -> f8"
MAMUTO_FUNCTION(add, ADD)
{
    FAULT();
    const struct random_item it = { .in = { &MAMUTO_IN(double, 0), &MAMUTO_IN(double, 1) }, IT };
    random_add(&it, &MAMUTO_OUT(double));
    return 0;
}
CHUNK(add, 2, ADD)

#define TURN "i4 -> i4"
MAMUTO_FUNCTION(turn, TURN)
{
    FAULT();
    const struct random_item it = { .in = { &MAMUTO_IN(int32_t, 0) }, IT };
    random_turn(&it, &MAMUTO_OUT(int32_t));
    return 0;
}
CHUNK(turn, 1, TURN)

#define BYTES "u1[5], i2 -> u1[5]"
MAMUTO_FUNCTION(bytes, BYTES)
{
    FAULT();
    const struct random_item it = { .in = { MAMUTO_IN(uint8_t[5], 0), &MAMUTO_IN(int16_t, 1) }, IT };
    random_bytes(&it, MAMUTO_OUT(uint8_t[5]));
    return 0;
}
CHUNK(bytes, 2, BYTES)

#define TRIPLE "f8[3], f8[3] -> f8[3]"
MAMUTO_FUNCTION(triple, TRIPLE)
{
    FAULT();
    const struct random_item it = { .in = { MAMUTO_IN(double[3], 0), MAMUTO_IN(double[3], 1) }, IT };
    random_triple(&it, MAMUTO_OUT(double[3]));
    return 0;
}
CHUNK(triple, 2, TRIPLE)

#define SCALE "f8[d], f8 -> f8[d]"
MAMUTO_FUNCTION(scale, SCALE)
{
    FAULT();
    const struct random_item it = { .in = { MAMUTO_ARRAY(double, 0), &MAMUTO_IN(double, 1) }, IT };
    random_scale(&it, MAMUTO_OUT_ARRAY(double));
    return 0;
}
CHUNK(scale, 2, SCALE)

#define MATRIX "i2[a,b], i2[b] -> i4[a]"
MAMUTO_FUNCTION(matrix, MATRIX)
{
    FAULT();
    const struct random_item it = { .in = { MAMUTO_ARRAY(int16_t, 0), MAMUTO_ARRAY(int16_t, 1) }, IT };
    random_matrix(&it, MAMUTO_OUT_ARRAY(int32_t));
    return 0;
}
CHUNK(matrix, 2, MATRIX)

#define COMPLEX "c16[2], f4 -> c16[2]"
MAMUTO_FUNCTION(complex, COMPLEX)
{
    FAULT();
    const struct random_item it = { .in = { MAMUTO_IN(double[4], 0), &MAMUTO_IN(float, 1) }, IT };
    random_complex(&it, MAMUTO_OUT(double[4]));
    return 0;
}
CHUNK(complex, 2, COMPLEX)

#define NOTHING "-> u8"
MAMUTO_FUNCTION(nothing, NOTHING)
{
    FAULT();
    const struct random_item it = { IT };
    random_nothing(&it, &MAMUTO_OUT(uint64_t));
    return 0;
}
CHUNK(nothing, 0, NOTHING)

#define EIGHT "i1, u2, i4, i8, f4, u1[3], b1, i2[a] -> i8"
MAMUTO_FUNCTION(eight, EIGHT)
{
    FAULT();
    const struct random_item it = { .in = { &MAMUTO_IN(int8_t, 0), &MAMUTO_IN(uint16_t, 1), &MAMUTO_IN(int32_t, 2),
                                            &MAMUTO_IN(int64_t, 3), &MAMUTO_IN(float, 4), MAMUTO_IN(uint8_t[3], 5),
                                            &MAMUTO_IN(uint8_t, 6), MAMUTO_ARRAY(int16_t, 7) },
                                    IT };
    random_eight(&it, &MAMUTO_OUT(int64_t));
    return 0;
}
CHUNK(eight, 8, EIGHT)

/* Of variable length: the item form alone. */
MAMUTO_FUNCTION(text, "bytes -> u4")
{
    FAULT();
    const struct random_item it = { .in = { MAMUTO_ARRAY(uint8_t, 0) }, .len = { MAMUTO_LEN(0) }, IT };
    random_text(&it, &MAMUTO_OUT(uint32_t));
    return 0;
}

MAMUTO_FUNCTION(sum, "f8[*], f8 -> f8")
{
    FAULT();
    const struct random_item it = { .in = { MAMUTO_ARRAY(double, 0), &MAMUTO_IN(double, 1) },
                                    .len = { MAMUTO_LEN(0) },
                                    IT };
    random_sum(&it, &MAMUTO_OUT(double));
    return 0;
}

MAMUTO_FUNCTION(both, "bytes, i4[*], u1 -> u8[2]")
{
    FAULT();
    const struct random_item it = { .in = { MAMUTO_ARRAY(uint8_t, 0), MAMUTO_ARRAY(int32_t, 1),
                                            &MAMUTO_IN(uint8_t, 2) },
                                    .len = { MAMUTO_LEN(0), MAMUTO_LEN(1) },
                                    IT };
    random_both(&it, MAMUTO_OUT(uint64_t[2]));
    return 0;
}

/* Results of variable length: in pieces, at once. */
MAMUTO_FUNCTION(echo, "bytes, u1 -> bytes")
{
    FAULT_AFTER(MAMUTO_EMIT("left behind", 11));
    uint8_t out[RANDOM_MOST_EMITTED];
    const struct random_item it = { .in = { MAMUTO_ARRAY(uint8_t, 0), &MAMUTO_IN(uint8_t, 1) },
                                    .len = { MAMUTO_LEN(0) },
                                    IT };
    size_t n = random_echo(&it, out), half = n / 2;
    int code = MAMUTO_EMIT(out, half);
    return code ? code : MAMUTO_EMIT(out + half, n - half);
}

MAMUTO_FUNCTION(count, "i4 -> i4[*]")
{
    FAULT_AFTER(MAMUTO_EMIT("four", 1));
    int32_t out[RANDOM_MOST_EMITTED / 4];
    const struct random_item it = { .in = { &MAMUTO_IN(int32_t, 0) }, IT };
    return MAMUTO_EMIT(out, random_count(&it, out));
}

/* ---- Folds --------------------------------------------------------------------------------------------------------- */

MAMUTO_FUNCTION(fold_f8, "f8, f8 -> f8")
{
    random_fold_f8(&MAMUTO_IN(double, 0), &MAMUTO_IN(double, 1), &MAMUTO_OUT(double));
    return 0;
}

MAMUTO_FUNCTION(fold_i4, "i4, i4 -> i4")
{
    random_fold_i4(&MAMUTO_IN(int32_t, 0), &MAMUTO_IN(int32_t, 1), &MAMUTO_OUT(int32_t));
    return 0;
}

MAMUTO_KERNEL(fold_u8x2, "u8[2], u8[2] -> u8[2]")
{
    const uint64_t(*a)[2] = MAMUTO_PACKED(uint64_t[2], 0), (*b)[2] = MAMUTO_PACKED(uint64_t[2], 1);
    uint64_t(*out)[2] = MAMUTO_PACKED_OUT(uint64_t[2]);
    for (size_t i = 0; i < MAMUTO_COUNT; i++)
        random_fold_u8x2(a[i], b[i], out[i]);
    return 0;
}

MAMUTO_FUNCTION(fold_dim, "f8[k], f8[k] -> f8[k]")
{
    random_fold_dim(MAMUTO_ARRAY(double, 0), MAMUTO_ARRAY(double, 1), MAMUTO_OUT_ARRAY(double), MAMUTO_DIM(0));
    return 0;
}
