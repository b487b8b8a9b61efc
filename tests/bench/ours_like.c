/* like3 by a mapper: shared, private or kept arrays, with or without help, chunk or item form, two lanes in each case. */
#include "tests/bench/ours.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "tests/bench/peer_like.h"

enum { LANES = 2, MAX_TIMES = 200000 };

struct ours_like {
    mamuto_t *m;
    mamuto_call_t call;
    struct like like;
    const struct ours_options *options;
};

/* From here on the kernel refuses process_vm_readv and process_vm_writev to this process and to all that it starts. */
static void deny_process_vm(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_writev, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof code / sizeof *code, code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        peer_die("seccomp cannot be had, so process_vm_readv cannot be denied");
}

static void make_arrays(struct ours_like *o)
{
    if (o->options->private_arrays) {
        like_make(&o->like, o->options->n);
        return;
    }
    o->like.n = o->options->n;
    o->like.p = ours_alloc(o->m, o->like.n, 3 * sizeof(double));
    o->like.out = ours_alloc(o->m, o->like.n, sizeof(double));
    like3_fill(o->like.p, o->like.data, o->like.n);
}

static mamuto_arg_t kept(struct ours_like *o, mamuto_arg_t arg)
{
    mamuto_kept_t *handle;
    mamuto_error_t err = { 0 };
    if (mamuto_keep_wait(o->m, &(mamuto_keep_t){ .type = "f8[3]", .arg = arg }, &handle, &err))
        peer_die("mamuto_keep_wait: %s", err.text);
    return mamuto_resident(handle);
}

static void once(void *ctx)
{
    struct ours_like *o = ctx;
    ours_map(o->m, &o->call);
}

static void turn(void *ctx, double ms, long n)
{
    static double times[MAX_TIMES];
    struct ours_like *o = ctx;
    if (n > 0 && (size_t)n <= o->like.n)
        o->call.args[0].count = (size_t)n;
    if (!o->options->each) {
        peer_figure("time", peer_mean_us(once, o, ms), "us");
        return;
    }
    const uint64_t start = peer_now_ns();
    size_t n_times = peer_each_us(once, o, ms, 0, times, MAX_TIMES);
    peer_figure("time", (double)(peer_now_ns() - start) / 1e3 / (double)n_times, "us");
    peer_figure("p50", stats_quantile(times, n_times, 0.5), "us");
    peer_figure("p99", stats_quantile(times, n_times, 0.99), "us");
}

static void share(void *ctx, double ms, long arg)
{
    struct ours_like *o = ctx;
    mamuto_call_t call = o->call;
    (void)arg;
    call.function = "like3.like3_lanes";
    ours_shares(o->m, &call, 2, ms);
}

int ours_like(const struct ours_options *options)
{
    struct ours_like o = { .options = options };
    if (options->denied)
        deny_process_vm();
    o.m = ours_open(options->help ? LANES - 1 : LANES, options->pinned ? ", \"pin\": true" : "", "like3", NULL);
    make_arrays(&o);
    o.call = (mamuto_call_t){ .function = options->item ? "like3.like3_item" : "like3.like3",
                              .args = { mamuto_scatter(o.like.p, o.like.n), mamuto_broadcast(o.like.data) },
                              .result = o.like.out,
                              .help = options->help };
    for (int k = 0; k < 2 && options->kept; k++)
        o.call.args[k] = kept(&o, o.call.args[k]);
    once(&o);
    like_check(&o.like);
    peer_serve(turn, share, &o);
    return mamuto_close_wait(o.m) ? 1 : 0;
}
