/* Errors: the texts of the codes, and the one way to fill a caller's mamuto_error_t. Pure; the first error wins. */
#include "core/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

const char *mamuto_strerror(int code)
{
    switch (code) {
    case 0:
        return "success";
#define MM_CASE(name_, number_, text_)                                                                                 \
    case number_:                                                                                                      \
        return text_;
        MAMUTO_ERRORS(MM_CASE)
#undef MM_CASE
    default:
        return "unknown error";
    }
}

const char *mamuto_version(void) { return MAMUTO_VERSION; }

static bool begin(mamuto_error_t *err, int code)
{
    if (!err || err->code)
        return false;
    memset(err, 0, sizeof *err);
    err->code = code;
    err->worker = -1;
    err->item = MAMUTO_NO_ITEM;
    return true;
}

int mm_error_set(mamuto_error_t *err, int code, const char *format, ...)
{
    if (begin(err, code)) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
    }
    return code;
}

int mm_error_system(mamuto_error_t *err, int errno_value, const char *format, ...)
{
    if (begin(err, MAMUTO_ESYSTEM)) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        size_t used = strlen(err->text);
        snprintf(err->text + used, sizeof err->text - used, ": %s", strerror(errno_value));
    }
    return MAMUTO_ESYSTEM;
}

int mm_error_copy(mamuto_error_t *err, const mamuto_error_t *from)
{
    if (err && !err->code)
        *err = *from;
    return from->code;
}
