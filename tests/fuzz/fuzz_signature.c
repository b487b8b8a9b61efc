/* The signature parser on any bytes. Either it fails with MAMUTO_ESIGNATURE, a printable text that names a column, and
 * the structure untouched; or what it understood, printed in the canonical form and parsed again, is the same.
 * With clang a libFuzzer target; elsewhere tests/fuzz/replay.c feeds it the corpus. */
#include "core/signature.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition_, text_)                                                                                     \
    do {                                                                                                               \
        if (!(condition_)) {                                                                                           \
            fprintf(stderr, "not so: %s\nsignature: %s\n", #condition_, (text_));                                      \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* 9 types of at most "c16[", 8 times a name or number of 31 characters with ", ", "]", and a separator of 4. */
enum { PRINTED_SIZE = 9 * (4 + 8 * 33 + 1 + 4) + 1 };

static char *print_type(char *to, const struct mm_type *type, const struct mm_signature *sig)
{
    if (type->text)
        return stpcpy(to, "bytes");
    to = stpcpy(to, type->dtype);
    if (type->variable)
        return stpcpy(to, "[*]");
    for (int k = 0; k < type->rank; k++) {
        const struct mm_dim *dim = &type->shape[k];
        to = stpcpy(to, k ? ", " : "[");
        to += dim->fixed ? sprintf(to, "%" PRIu64, dim->fixed) : sprintf(to, "%s", sig->dims[dim->name]);
    }
    return type->rank ? stpcpy(to, "]") : to;
}

static void print(char text[PRINTED_SIZE], const struct mm_signature *sig)
{
    char *to = text;
    for (int k = 0; k < sig->n_in; k++) {
        to = stpcpy(to, k ? ", " : "");
        to = print_type(to, &sig->in[k], sig);
    }
    to = stpcpy(to, sig->n_in ? " -> " : "-> ");
    print_type(to, &sig->out, sig);
}

static bool same_type(const struct mm_type *a, const struct mm_type *b)
{
    bool same = strcmp(a->dtype, b->dtype) == 0 && a->elem_bytes == b->elem_bytes && a->elem_align == b->elem_align &&
                a->variable == b->variable && a->text == b->text && a->rank == b->rank;
    for (int k = 0; same && k < a->rank; k++)
        same = a->shape[k].fixed == b->shape[k].fixed && a->shape[k].name == b->shape[k].name;
    return same;
}

static bool same_signature(const struct mm_signature *a, const struct mm_signature *b)
{
    bool same = a->n_in == b->n_in && a->n_dims == b->n_dims && same_type(&a->out, &b->out);
    for (int k = 0; same && k < a->n_in; k++)
        same = same_type(&a->in[k], &b->in[k]);
    for (int k = 0; same && k < a->n_dims; k++)
        same = strcmp(a->dims[k], b->dims[k]) == 0;
    return same;
}

static void check_type(const struct mm_type *type, const struct mm_signature *sig, const char *text)
{
    size_t dims[MAMUTO_MAX_DIMS], len = 0, bytes = 0;
    for (size_t k = 0; k < MAMUTO_MAX_DIMS; k++)
        dims[k] = k + 1;
    REQUIRE(type->rank >= 0 && type->rank <= MM_MAX_RANK, text);
    REQUIRE(type->elem_bytes % type->elem_align == 0, text);
    for (int k = 0; k < type->rank; k++)
        REQUIRE(type->shape[k].fixed <= INT64_MAX && (type->shape[k].fixed || type->shape[k].name < sig->n_dims), text);
    int rc = mm_type_size(type, sig, dims, &len, &bytes, NULL);
    REQUIRE(rc == (type->variable ? MAMUTO_ESIGNATURE : 0) || rc == MAMUTO_ESIZE, text);
    REQUIRE(rc || (len >= 1 && bytes / type->elem_bytes == len && bytes <= INT64_MAX), text);
}

static void check_failure(int rc, const mamuto_error_t *err, const struct mm_signature *sig, const char *text)
{
    REQUIRE(rc == MAMUTO_ESIGNATURE && err->code == rc, text);
    REQUIRE(strstr(err->text, "\", column ") != NULL, text);
    REQUIRE(strlen(err->text) < sizeof err->text - 1, text); /* the sentence is whole */
    for (const char *p = err->text; *p; p++)
        REQUIRE(*p >= ' ' && *p <= '~', text);
    for (size_t k = 0; k < sizeof *sig; k++)
        REQUIRE(((const unsigned char *)sig)[k] == 0xA5, text);
}

static void check_success(const mamuto_error_t *err, const struct mm_signature *sig, const char *text)
{
    char printed[PRINTED_SIZE];
    struct mm_signature again;
    mamuto_error_t none = { 0 };
    REQUIRE(err->code == 0, text);
    check_type(&sig->out, sig, text);
    for (int k = 0; k < sig->n_in; k++)
        check_type(&sig->in[k], sig, text);
    for (int k = 0; k < sig->n_dims; k++)
        REQUIRE(mm_is_identifier(sig->dims[k]), text);
    print(printed, sig);
    REQUIRE(mm_signature_parse(&again, printed, &none) == 0, text);
    REQUIRE(same_signature(sig, &again), text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1); /* of exactly this size, so that the sanitizer sees a read behind its end */
    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    struct mm_signature sig;
    mamuto_error_t err = { 0 };
    memset(&sig, 0xA5, sizeof sig);
    int rc = mm_signature_parse(&sig, text, &err);
    if (rc)
        check_failure(rc, &err, &sig, text);
    else
        check_success(&err, &sig, text);
    free(text);
    return 0;
}
