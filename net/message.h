/* The bodies of the frames that are taken whole, bytes to structure and back. Pure and bounded: a decoder reads what it
 * is given and no more, believes no length, and points into the bytes for strings (each ended by 0 in the bytes).
 * Little-endian; a string is u32 length with its 0, bytes, 0. Plain C11. */
#ifndef MM_NET_MESSAGE_H
#define MM_NET_MESSAGE_H

#include "core/mamuto.h"
#include "net/frame.h"

enum { MM_PROTOCOL = 1, MM_BYTE_ORDER = 0x0102, MM_KEY_BYTES = 32, MM_CHALLENGE_BYTES = 16, MM_PROOF_BYTES = 32 };
enum { MM_MOST_WORKERS = 255 }; /* of one agent */

/* A body being written. full: it did not fit, and what is there is of no use. */
struct mm_writer {
    unsigned char *at;
    size_t n, room;
    bool full;
};
/* A body being read. bad: something was not there (cut), or not as it must be. */
struct mm_reader {
    const unsigned char *at;
    size_t n, used;
    bool bad, cut;
};

struct mm_strings { /* a list that points into the body: n strings, each with its length before it */
    const char *first;
    uint32_t n;
};
/* The next string of a list, from `at`, which is one of it, and not the last. */
static inline const char *mm_strings_next(const char *at) { return at + strlen(at) + 1 + sizeof(uint32_t); }

struct mm_hello {
    uint32_t protocol_least, protocol_most;
    uint32_t cores;
    uint64_t memory; /* bytes that may be taken there */
    const char *build, *os, *arch, *cpu, *libc;
    const char *tls;            /* the library that is there; "": none */
    const char *ssh_connection; /* $SSH_CONNECTION there; "": none */
};                              /* and the byte order, which the codec checks */

enum mm_stream_kind { MM_STREAM_CHANNEL, MM_STREAM_PLAIN, MM_STREAM_TLS };

struct mm_start {
    uint32_t protocol;
    enum mm_stream_kind kind;
    unsigned char key[MM_KEY_BYTES]; /* of CHANNEL: zeros */
    const char *nonce;
    uint16_t port_first, port_last; /* both 0: any */
    uint32_t cores;                 /* 0: all */
    int32_t nice, pin;              /* pin: enum mm_pin */
    bool core_dumps, output;
    uint64_t memory;       /* most bytes of arguments, results and kept data; 0: what HELLO says */
    uint32_t deadline_ms;  /* of silence, after which the agent leaves */
    const char *workdir;   /* "": stay */
    struct mm_strings env; /* NAME=value */
};

struct mm_listen {
    uint16_t port;
    struct mm_strings addresses; /* in the order in which they are to be tried */
};

struct mm_prove {
    unsigned char challenge[MM_CHALLENGE_BYTES], proof[MM_PROOF_BYTES];
};

/* An outcome: code 0 is a good one. */
struct mm_outcome_body {
    int32_t code, item_code, signal, worker, line;
    uint64_t item; /* of the call; UINT64_MAX: none */
    const char *file, *text;
};

struct mm_up {
    struct mm_outcome_body outcome;
    uint32_t workers;
};

/* The file "_mamuto/mamuto.h", if there, is the public header (to be found by <mamuto.h>); a folder in cflags that begins
 * with "@/" is below the one that the files are put into. */
struct mm_module_body {
    const char *name; /* the stem */
    const char *main; /* the file to build or load: one of files */
    const char *cc;
    struct mm_strings cflags, libs;
    struct mm_strings files; /* relative names */
    uint32_t n_sizes;
    const unsigned char *sizes; /* n_sizes u64, by mm_module_size */
};
uint64_t mm_module_size(const struct mm_module_body *module, uint32_t file);

struct mm_function_body {
    uint32_t form; /* MAMUTO_FORM_* */
    int32_t line;
    const char *name, *signature, *doc; /* doc "": none */
};

struct mm_loaded_body {
    struct mm_outcome_body outcome;
    const char *fingerprint; /* of what was built, the CPU and libc */
};

enum mm_argument_kind { MM_ARGUMENT_SCATTER, MM_ARGUMENT_BROADCAST, MM_ARGUMENT_KEPT };

struct mm_call_argument {
    enum mm_argument_kind kind;
    bool variable;      /* it has offsets; not of BROADCAST */
    bool one;           /* one value for all items: BROADCAST always, SCATTER never */
    uint64_t size, len; /* of mm_run_arg */
    uint64_t object;    /* KEPT */
};

enum {
    MM_CALL_FAIL_FAST = 1,
    MM_CALL_ONCE = 2,
    MM_CALL_MARKS = 4,
    MM_CALL_GROUPS = 8,
    MM_CALL_VALUES = 16,
    MM_CALL_FOLD_ONLY = 32,
    MM_CALL_ABSENT = 64,
    MM_CALL_ALL_FLAGS = 127
};

struct mm_call_body {
    uint32_t module, function; /* FOLD_ONLY: of no meaning */
    uint32_t flags;
    uint32_t n_in, n_dims;
    uint64_t dims[MAMUTO_MAX_DIMS];
    struct mm_call_argument in[MAMUTO_MAX_ARGS];
    uint64_t out_size, out_len;
    uint64_t seed;
    int32_t item_timeout_ms, retries, priority;
    /* GROUPS: as struct mm_groups */
    uint32_t fold_module, fold_function, n_fold_dims, leaf_items;
    uint64_t fold_dims[MAMUTO_MAX_DIMS];
    uint64_t n_items, group_items;
};

struct mm_run_body {
    uint64_t call, lo, hi;           /* items, or groups, of the call */
    uint32_t n_in;                   /* as mm_put_run is told */
    uint64_t bytes[MAMUTO_MAX_ARGS]; /* of each SCATTER argument that will come */
};

struct mm_done_body {
    struct mm_outcome_body outcome; /* of the lease: ECANCELED, or what ended it early */
    uint64_t failed, busy_ns;
};

struct mm_out_body {
    uint32_t worker, fd;
    const char *text;
    size_t n;
};

struct mm_bye {
    int32_t code;
    const char *text;
};

/* Each writes a body. */
void mm_put_hello(struct mm_writer *w, const struct mm_hello *hello);
void mm_put_start(struct mm_writer *w, const struct mm_start *start, const char *const *env);
void mm_put_listen(struct mm_writer *w, uint16_t port, const char *const *addresses);
void mm_put_prove(struct mm_writer *w, const struct mm_prove *prove);
void mm_put_up(struct mm_writer *w, const struct mm_up *up);
void mm_put_module(struct mm_writer *w, const char *name, const char *main, const char *cc, const char *const *cflags,
                   const char *const *libs, const char *const *files, const uint64_t *sizes);
void mm_put_function(struct mm_writer *w, const struct mm_function_body *function);
void mm_put_loaded(struct mm_writer *w, const struct mm_loaded_body *loaded);
void mm_put_outcome(struct mm_writer *w, const struct mm_outcome_body *outcome); /* KEPT, FAIL */
void mm_put_call(struct mm_writer *w, const struct mm_call_body *call);
void mm_put_run(struct mm_writer *w, const struct mm_run_body *run, uint32_t n_in);
void mm_put_done(struct mm_writer *w, const struct mm_done_body *done);
void mm_put_credit(struct mm_writer *w, uint64_t bytes);
void mm_put_out(struct mm_writer *w, const struct mm_out_body *out);
void mm_put_bye(struct mm_writer *w, int32_t code, const char *text);

/* Each reads a body and checks every field for its range (the table in net/PROTOCOL.md). 0, or EPROTOCOL; *why is a piece of
 * a sentence; what is in the structure then is of no use. Nothing may follow in the body. HELLO of another byte order or
 * protocol: EVERSION. */
int mm_get_hello(struct mm_hello *hello, const unsigned char *at, size_t n, const char **why);
int mm_get_start(struct mm_start *start, const unsigned char *at, size_t n, const char **why);
int mm_get_listen(struct mm_listen *listen, const unsigned char *at, size_t n, const char **why);
int mm_get_prove(struct mm_prove *prove, const unsigned char *at, size_t n, const char **why);
int mm_get_up(struct mm_up *up, const unsigned char *at, size_t n, const char **why);
int mm_get_module(struct mm_module_body *module, const unsigned char *at, size_t n, const char **why);
int mm_get_function(struct mm_function_body *function, const unsigned char *at, size_t n, const char **why);
int mm_get_loaded(struct mm_loaded_body *loaded, const unsigned char *at, size_t n, const char **why);
int mm_get_outcome(struct mm_outcome_body *outcome, const unsigned char *at, size_t n, const char **why);
int mm_get_call(struct mm_call_body *call, const unsigned char *at, size_t n, const char **why);
int mm_get_run(struct mm_run_body *run, const unsigned char *at, size_t n, const char **why);
int mm_get_done(struct mm_done_body *done, const unsigned char *at, size_t n, const char **why);
int mm_get_credit(uint64_t *bytes, const unsigned char *at, size_t n, const char **why);
int mm_get_out(struct mm_out_body *out, const unsigned char *at, size_t n, const char **why);
int mm_get_bye(struct mm_bye *bye, const unsigned char *at, size_t n, const char **why);

/* An outcome and the error that a program is told: strings are copied, cut where a character begins, and what is not a
 * character of UTF-8, or is a control character, comes out as \xNN; ends of lines stay in the text, not in the file. The
 * error's host is left alone. */
void mm_outcome_to_error(const struct mm_outcome_body *outcome, mamuto_error_t *err);
void mm_error_to_outcome(const mamuto_error_t *err, struct mm_outcome_body *outcome); /* which points into err */

#endif
