/* The parser of signatures, the sizes of types, and what an identifier is.
 *
 * A recursive descent over a NUL-terminated text that may hold any bytes: each function stands at p->at, takes what its
 * rule of the grammar (mamuto.h, SIGNATURES) allows, and leaves p->at behind it. Blanks are spaces and tabs, free
 * between tokens. The result is built in the parser and copied out at the end, so that *sig is untouched on failure.
 * Invariants: no byte behind the NUL is read; the text quoted in a message is bounded and printable ASCII; whatever
 * precedes an error is ASCII, so that its byte is its column.
 * Called when a module is loaded and when a call is checked. Pure: no allocation, no I/O, no locale.
 * It does not refuse variable lengths: the mapper does, where it cannot map them. */
#include "core/signature.h"

#include "core/error.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* NumPy's codes; bytes and alignment of an element. A complex number is aligned as its parts are. */
#define DTYPES(X)                                                                                                      \
    X("i1", 1, 1)                                                                                                      \
    X("i2", 2, 2)                                                                                                      \
    X("i4", 4, 4)                                                                                                      \
    X("i8", 8, 8)                                                                                                      \
    X("u1", 1, 1)                                                                                                      \
    X("u2", 2, 2)                                                                                                      \
    X("u4", 4, 4)                                                                                                      \
    X("u8", 8, 8)                                                                                                      \
    X("f4", 4, 4)                                                                                                      \
    X("f8", 8, 8)                                                                                                      \
    X("c8", 8, 4)                                                                                                      \
    X("c16", 16, 8)                                                                                                    \
    X("b1", 1, 1)

#define ROW(name_, bytes_, align_) { name_, bytes_, align_ },
static const struct {
    char name[4];
    uint8_t bytes, align;
} dtypes[] = { DTYPES(ROW) };
#undef ROW

#define LISTED(name_, bytes_, align_) name_ ", "
#define ALL_TYPES DTYPES(LISTED) "bytes"

enum { SHOWN_MAX = 100, SHOWN_BEFORE = 70, WORD_SHOWN_MAX = 40, IDENTIFIER_MAX = 63 };

struct parser {
    const char *text;
    size_t at; /* of the next byte */
    struct mm_signature sig;
    mamuto_error_t *err;
    const char *what; /* the text is that of a */
};

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_word(char c) { return is_letter(c) || is_digit(c) || c == '_'; }

static size_t word_length(const char *text)
{
    size_t n = 0;
    while (is_word(text[n]))
        n++;
    return n;
}

/* The text as it is quoted: the surroundings of byte `at`, cut parts as "...", bytes that are not printable as "?". */
static void show(char shown[SHOWN_MAX + 7], const char *text, size_t at)
{
    size_t from = at > SHOWN_BEFORE ? at - SHOWN_BEFORE : 0, n = strnlen(text + from, SHOWN_MAX + 1);
    char *end = shown;
    if (from)
        end = stpcpy(end, "...");
    for (size_t k = 0; k < n && k < SHOWN_MAX; k++) {
        char c = text[from + k];
        *end++ = c >= ' ' && c <= '~' ? c : '?';
    }
    strcpy(end, n > SHOWN_MAX ? "..." : "");
}

__attribute__((format(printf, 3, 4))) static int fail(struct parser *p, size_t at, const char *format, ...)
{
    char shown[SHOWN_MAX + 7], what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    show(shown, p->text, at);
    return mm_error_set(p->err, MAMUTO_ESIGNATURE, "%s \"%s\", column %zu: %s", p->what, shown, at + 1, what);
}

/* The word of n bytes at `at`, cut where it is long: the arguments of "%.*s%s" in a format. */
#define SHOW_WORD(p, at, n)                                                                                            \
    (int)((n) < WORD_SHOWN_MAX ? (n) : WORD_SHOWN_MAX), (p)->text + (at), (n) > WORD_SHOWN_MAX ? "..." : ""

/* The first byte that is not blank, which p->at stands at afterwards. */
static char next(struct parser *p)
{
    while (p->text[p->at] == ' ' || p->text[p->at] == '\t')
        p->at++;
    return p->text[p->at];
}

static bool at_arrow(struct parser *p) { return next(p) == '-' && p->text[p->at + 1] == '>'; }

static int parse_number(struct parser *p, size_t n, uint64_t *number)
{
    const char *digits = p->text + p->at;
    uint64_t value = 0;
    for (size_t k = 0; k < n; k++) {
        if (!is_digit(digits[k]))
            return fail(p, p->at, "\"%.*s%s\" is neither a number nor a name; a name begins with a letter",
                        SHOW_WORD(p, p->at, n));
        uint64_t digit = (uint64_t)(digits[k] - '0');
        if (value > (INT64_MAX - digit) / 10)
            return fail(p, p->at, "the number \"%.*s%s\" is too large; the largest is %" PRId64, SHOW_WORD(p, p->at, n),
                        INT64_MAX);
        value = 10 * value + digit;
    }
    if (value == 0)
        return fail(p, p->at, "a dimension of 0 holds nothing; the least is 1");
    if (digits[0] == '0')
        return fail(p, p->at, "a number has no leading zero; write %" PRIu64, value);
    *number = value;
    return 0;
}

/* Index of the name of n bytes among the signature's dims, where it is put if it is new. */
static int parse_name(struct parser *p, size_t n, int *name)
{
    struct mm_signature *sig = &p->sig;
    if (n > MM_MAX_NAME)
        return fail(p, p->at, "the name \"%.*s%s\" is longer than %d characters", SHOW_WORD(p, p->at, n), MM_MAX_NAME);
    int k = 0;
    while (k < sig->n_dims && !(sig->dims[k][n] == '\0' && memcmp(sig->dims[k], p->text + p->at, n) == 0))
        k++;
    if (k == MAMUTO_MAX_DIMS)
        return fail(p, p->at, "\"%.*s%s\" is one name too many; a signature has up to %d named dimensions",
                    SHOW_WORD(p, p->at, n), MAMUTO_MAX_DIMS);
    if (k == sig->n_dims) {
        memcpy(sig->dims[k], p->text + p->at, n); /* zeroed before: it ends */
        sig->n_dims++;
    }
    *name = k;
    return 0;
}

static int parse_dim(struct parser *p, struct mm_type *type)
{
    char c = next(p);
    size_t n = word_length(p->text + p->at);
    if (c == '*')
        return fail(p, p->at, "\"*\" stands alone, as in f8[*]; it has no other dimension beside it");
    if (c == ']' && type->rank == 0)
        return fail(p, p->at, "the shape is empty; leave \"[]\" out for one value");
    if (c == '_')
        return fail(p, p->at, "the name \"%.*s%s\" begins with \"_\"; a name begins with a letter",
                    SHOW_WORD(p, p->at, n));
    if (!n)
        return fail(p, p->at, "expected a dimension: a number from 1 up or a name%s", type->rank ? "" : ", or \"*\"");
    if (type->rank == MM_MAX_RANK)
        return fail(p, p->at, "one dimension too many; a type has up to %d", MM_MAX_RANK);
    struct mm_dim *dim = &type->shape[type->rank];
    int rc = is_digit(c) ? parse_number(p, n, &dim->fixed) : parse_name(p, n, &dim->name);
    if (rc)
        return rc;
    type->rank++;
    p->at += n;
    return 0;
}

static int parse_star(struct parser *p, struct mm_type *type)
{
    size_t star = p->at++;
    char c = next(p);
    if (c == ',')
        return fail(p, star, "\"*\" stands alone, as in f8[*]; it has no other dimension beside it");
    if (c != ']')
        return fail(p, p->at, "expected \"]\" after \"*\"");
    p->at++;
    type->variable = true;
    return 0;
}

/* Behind "[" up to and with "]". */
static int parse_shape(struct parser *p, struct mm_type *type)
{
    if (next(p) == '*')
        return parse_star(p, type);
    for (;;) {
        int rc = parse_dim(p, type);
        if (rc)
            return rc;
        char c = next(p);
        if (c != ',' && c != ']')
            return fail(p, p->at, "expected \",\" or \"]\" after a dimension");
        p->at++;
        if (c == ']')
            return 0;
    }
}

/* Fills the element's fields from the word of n bytes at p->at; false: no such type. */
static bool set_element(struct parser *p, size_t n, struct mm_type *type)
{
    const char *word = p->text + p->at;
    type->text = type->variable = n == 5 && memcmp(word, "bytes", 5) == 0;
    if (type->text) {
        word = "u1";
        n = 2;
    }
    for (size_t k = 0; k < sizeof dtypes / sizeof *dtypes; k++) {
        if (strlen(dtypes[k].name) != n || memcmp(dtypes[k].name, word, n) != 0)
            continue;
        memcpy(type->dtype, dtypes[k].name, sizeof type->dtype);
        type->elem_bytes = dtypes[k].bytes;
        type->elem_align = dtypes[k].align;
        return true;
    }
    return false;
}

static int parse_type(struct parser *p, struct mm_type *type)
{
    next(p);
    size_t n = word_length(p->text + p->at);
    if (!n)
        return fail(p, p->at, "expected a type, one of " ALL_TYPES);
    if (!set_element(p, n, type))
        return fail(p, p->at, "unknown type \"%.*s%s\": expected one of " ALL_TYPES, SHOW_WORD(p, p->at, n));
    p->at += n;
    if (next(p) != '[')
        return 0;
    if (type->text)
        return fail(p, p->at, "\"bytes\" has no shape; it is one text, of its own length for each item");
    p->at++;
    return parse_shape(p, type);
}

/* Up to and with the arrow. */
static int parse_inputs(struct parser *p)
{
    struct mm_signature *sig = &p->sig;
    while (!at_arrow(p)) {
        char c = p->text[p->at];
        if (sig->n_in && c == '\0')
            return fail(p, p->at, "the arrow is missing; expected \"->\" and the output's type");
        if (sig->n_in && c != ',')
            return fail(p, p->at, "expected \",\" or \"->\" after an input");
        if (sig->n_in)
            p->at++;
        next(p);
        if (sig->n_in == MAMUTO_MAX_ARGS)
            return fail(p, p->at, "one input too many; a function has up to %d", MAMUTO_MAX_ARGS);
        int rc = parse_type(p, &sig->in[sig->n_in]);
        if (rc)
            return rc;
        sig->n_in++;
    }
    p->at += strlen("->");
    return 0;
}

static int parse_output(struct parser *p)
{
    if (next(p) == '\0')
        return fail(p, p->at, "the output is missing; expected its type after \"->\"");
    int rc = parse_type(p, &p->sig.out);
    if (rc)
        return rc;
    if (next(p) == ',')
        return fail(p, p->at, "a function has one output; put several values into an array, as in f8[2]");
    if (p->text[p->at])
        return fail(p, p->at, "unexpected text after the output; the signature should end here");
    return 0;
}

int mm_signature_parse(struct mm_signature *sig, const char *text, mamuto_error_t *err)
{
    struct parser p = { .text = text ? text : "", .err = err, .what = "signature" };
    if (next(&p) == '\0')
        return fail(&p, 0, "the signature is empty; expected inputs, \"->\" and the output, as in \"f8, f8 -> f8\"");
    int rc = parse_inputs(&p);
    if (!rc)
        rc = parse_output(&p);
    if (!rc)
        *sig = p.sig;
    return rc;
}

int mm_type_parse(struct mm_signature *sig, const char *text, mamuto_error_t *err)
{
    struct parser p = { .text = text ? text : "", .err = err, .what = "type" };
    if (next(&p) == '\0')
        return fail(&p, 0, "the type is empty; expected one as in a signature, such as \"f8[3]\"");
    int rc = parse_type(&p, &p.sig.in[0]);
    if (!rc && next(&p))
        rc = fail(&p, p.at, "unexpected text after the type; it is that of one input, as in \"f8[3]\"");
    p.sig.n_in = 1;
    if (!rc)
        *sig = p.sig;
    return rc;
}

static uint64_t bound_dim(const struct mm_dim *dim, const size_t *dims)
{
    return dim->fixed ? dim->fixed : dims[dim->name];
}

/* A product that passes 2^63 - 1; the dims are shown as they are bound. */
static int too_large(const struct mm_type *type, const size_t *dims, mamuto_error_t *err)
{
    char shape[MM_MAX_RANK * 22 + 1] = "", *end = shape;
    for (int k = 0; k < type->rank; k++)
        end += sprintf(end, "%s%" PRIu64, k ? ", " : "", bound_dim(&type->shape[k], dims)); /* at most 22 bytes each */
    return mm_error_set(err, MAMUTO_ESIZE, "a value %s[%s] is too large; the most is %td bytes", type->dtype, shape,
                        PTRDIFF_MAX);
}

int mm_type_size(const struct mm_type *type, const struct mm_signature *sig, const size_t *dims, size_t *len,
                 size_t *bytes, mamuto_error_t *err)
{
    uint64_t n = 1, total;
    if (type->variable)
        return mm_error_set(err, MAMUTO_ESIGNATURE, "a type of variable length has no size of its own");
    for (int k = 0; k < type->rank; k++) {
        const struct mm_dim *dim = &type->shape[k];
        if (!bound_dim(dim, dims))
            return mm_error_set(err, MAMUTO_EARGS, "dimension \"%s\" is 0; call.dims[%d] should be 1 or more",
                                sig->dims[dim->name], dim->name);
    }
    for (int k = 0; k < type->rank; k++)
        if (__builtin_mul_overflow(n, bound_dim(&type->shape[k], dims), &n))
            return too_large(type, dims, err);
    if (__builtin_mul_overflow(n, type->elem_bytes, &total) || total > PTRDIFF_MAX)
        return too_large(type, dims, err);
    *len = (size_t)n;
    *bytes = (size_t)total;
    return 0;
}

void mm_type_bind(struct mm_type *type, const size_t *dims)
{
    for (int k = 0; k < type->rank; k++)
        type->shape[k] = (struct mm_dim){ .fixed = bound_dim(&type->shape[k], dims) };
}

bool mm_type_is_equal(const struct mm_type *a, const struct mm_type *b)
{
    if (strcmp(a->dtype, b->dtype) != 0 || a->variable != b->variable || a->rank != b->rank)
        return false;
    for (int k = 0; k < a->rank; k++)
        if (a->shape[k].fixed != b->shape[k].fixed)
            return false;
    return true;
}

void mm_type_show(const struct mm_type *type, char text[MM_TYPE_TEXT])
{
    char *end = stpcpy(text, type->text ? "bytes" : type->dtype);
    if (type->variable && !type->text)
        strcpy(end, "[*]");
    for (int k = 0; k < type->rank; k++) /* at most 22 bytes each */
        end += sprintf(end, "%s%" PRIu64 "%s", k ? ", " : "[", type->shape[k].fixed, k + 1 < type->rank ? "" : "]");
}

bool mm_is_identifier(const char *name)
{
    size_t n = name ? word_length(name) : 0;
    return n && n <= IDENTIFIER_MAX && is_letter(name[0]) && name[n] == '\0';
}
