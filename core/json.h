/* A JSON text as a tree of values, and back. The only file that knows jansson is json.c. Pure but for memory. */
#ifndef MM_CORE_JSON_H
#define MM_CORE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mm_json; /* a value; those within a tree belong to its root */

enum mm_json_kind {
    MM_JSON_OBJECT,
    MM_JSON_LIST,
    MM_JSON_STRING,
    MM_JSON_INTEGER,
    MM_JSON_REAL,
    MM_JSON_TRUE,
    MM_JSON_FALSE,
    MM_JSON_NULL
};

struct mm_json_error {
    bool no_memory;
    int line; /* 0: unknown */
    char text[256];
};

/* text: an object, with a NUL behind its length bytes and none within. Doubled keys, \u0000 and what is not UTF-8 are
 * errors. NULL: see *error. */
struct mm_json *mm_json_parse(const char *text, size_t length, struct mm_json_error *error);
void mm_json_free(struct mm_json *root); /* NULL: nothing */

enum mm_json_kind mm_json_kind(struct mm_json *value);
const char *mm_json_string(struct mm_json *value);                     /* NULL: it is none */
int64_t mm_json_integer(struct mm_json *value);                        /* 0: it is none, or it is 0 */
double mm_json_real(struct mm_json *value);                            /* 0: it is none, or it is 0 */
size_t mm_json_count(struct mm_json *value);                           /* members or elements; 0: it has none */
struct mm_json *mm_json_at(struct mm_json *list, size_t i);            /* NULL: there is none */
struct mm_json *mm_json_get(struct mm_json *object, const char *name); /* NULL: there is none */

/* The members of an object in their order: begin with { 0 }. false: there are no more. */
struct mm_json_member {
    const char *name;
    struct mm_json *value;
    void *place;
};
bool mm_json_next(struct mm_json *object, struct mm_json_member *member);

/* A new object; NULL: no memory. The setters put a new member at its end: 0, ENOMEM, or EINVAL where a string is not
 * UTF-8. value: taken, also on failure. */
struct mm_json *mm_json_new(void);
int mm_json_set_string(struct mm_json *object, const char *name, const char *text);
int mm_json_set_integer(struct mm_json *object, const char *name, int64_t integer);
int mm_json_set(struct mm_json *object, const char *name, struct mm_json *value);
/* As a text, indented, with a line break and a NUL at its end, to be freed with mm_free. NULL: no memory. */
char *mm_json_text(struct mm_json *root);

#endif
