/* Our prototypes and constants of OpenSSL agree with its own headers, and a library that is absent or lacks something is
 * told, not used. */
#include "net/tls_library.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>

#include <cmocka.h>

/* NOLINTBEGIN(bugprone-macro-parentheses): types and names */
#define AGREES(type_, name_, arguments_)                                                                               \
    _Static_assert(__builtin_types_compatible_p(__typeof__(&name_), type_(*) arguments_), #name_);
MM_TLS_FUNCTIONS(AGREES)

#define IS_EQUAL(name_, value_) _Static_assert(name_ == value_, #name_);
MM_TLS_CONSTANTS(IS_EQUAL)
/* NOLINTEND(bugprone-macro-parentheses) */

static void tls_library_where_it_is_there_names_itself(void **state)
{
    (void)state;
    const struct mm_tls_library *library = mm_tls_library();
    assert_non_null(library);
    assert_non_null(strstr(mm_tls_library_name(), "OpenSSL "));
    assert_ptr_equal(mm_tls_library(), library);
    assert_non_null(library->EVP_sha256());
}

static void tls_library_hidden_is_none(void **state)
{
    (void)state;
    mm_tls_library_hide(true);
    assert_null(mm_tls_library());
    assert_string_equal(mm_tls_library_name(), "");
    assert_string_not_equal(mm_tls_library_why(), "");
    mm_tls_library_hide(false);
    assert_non_null(mm_tls_library());
}

static void tls_library_absent_is_told(void **state)
{
    (void)state;
    struct mm_tls_library library = { .name = "untouched" };
    char why[128];
    static const char *const names[] = { "libmamuto-absent.so.9", NULL };
    assert_int_equal(mm_tls_library_load(&library, names, why, sizeof why), -1);
    assert_non_null(strstr(why, "libmamuto-absent.so.9"));
    assert_string_equal(library.name, "untouched");
}

static void tls_library_without_a_function_is_passed_over(void **state)
{
    (void)state;
    struct mm_tls_library library = { .name = "untouched" };
    char why[128];
    static const char *const other[] = { "libc.so.6", NULL };
    assert_int_equal(mm_tls_library_load(&library, other, why, sizeof why), -1);
    assert_string_equal(why, "libc.so.6 has no TLS_client_method");
    assert_string_equal(library.name, "untouched");
    static const char *const both[] = { "libc.so.6", "libssl.so.3", NULL };
    assert_int_equal(mm_tls_library_load(&library, both, why, sizeof why), 0);
    assert_non_null(strstr(library.name, "OpenSSL "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls_library_where_it_is_there_names_itself),
        cmocka_unit_test(tls_library_hidden_is_none),
        cmocka_unit_test(tls_library_absent_is_told),
        cmocka_unit_test(tls_library_without_a_function_is_passed_over),
    };
    return cmocka_run_group_tests_name("tls_library", tests, NULL, NULL);
}
