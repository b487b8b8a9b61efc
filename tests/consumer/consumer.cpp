// A C++17 program outside of the tree: consumer MODULE. Maps a function of the module, over an ordinary argument and one
// that is kept, folds the results, maps to results of variable length, and compares with its own loops.
#include <cstdio>
#include <mamuto.h>
#include <numeric>
#include <vector>

static bool map(mamuto_t *m, const std::vector<double> &x, const mamuto_arg_t &by, mamuto_error_t *err)
{
    std::vector<double> out(x.size());
    mamuto_call_t call = {};
    call.function = "scale.scale";
    call.args[0] = mamuto_scatter(x.data(), x.size());
    call.args[1] = by;
    call.result = out.data();
    if (mamuto_map_wait(m, &call, err))
        return false;
    for (std::size_t i = 0; i < x.size(); i++) {
        if (out[i] != x[i] * 3)
            return false;
    }
    return true;
}

static bool map_with_kept(mamuto_t *m, const std::vector<double> &x, const double &factor, mamuto_error_t *err)
{
    mamuto_kept_t *kept = nullptr;
    mamuto_keep_t keep = {};
    keep.type = "f8";
    keep.arg = mamuto_broadcast(&factor);
    if (mamuto_keep_wait(m, &keep, &kept, err))
        return false;
    const bool ok = map(m, x, mamuto_resident(kept), err);
    return mamuto_forget(kept) == 0 && ok;
}

static bool reduce(mamuto_t *m, const std::vector<double> &x, const double &factor, mamuto_error_t *err)
{
    double sum = 0;
    mamuto_call_t call = {};
    call.function = "scale.scale";
    call.args[0] = mamuto_scatter(x.data(), x.size());
    call.args[1] = mamuto_broadcast(&factor);
    call.fold = "scale.add";
    call.value = &sum;
    return mamuto_reduce_wait(m, &call, err) == 0 && sum == 3 * std::accumulate(x.begin(), x.end(), 0.0);
}

static bool emit(mamuto_t *m, mamuto_error_t *err)
{
    const std::vector<int32_t> lengths = { 3, 0, 5 };
    mamuto_var_t lines = {};
    mamuto_call_t call = {};
    call.function = "scale.count_up";
    call.args[0] = mamuto_scatter(lengths.data(), lengths.size());
    call.result_var = &lines;
    if (mamuto_map_wait(m, &call, err))
        return false;
    const auto *numbers = static_cast<const int32_t *>(lines.data);
    const bool ok = std::vector<int64_t>(lines.offsets, lines.offsets + 4) == std::vector<int64_t>{ 0, 3, 3, 8 } &&
                    std::vector<int32_t>(numbers, numbers + 8) == std::vector<int32_t>{ 0, 1, 2, 0, 1, 2, 3, 4 };
    return mamuto_free(m, lines.data) == 0 && ok;
}

int main(int argc, char **argv)
{
    mamuto_t *m = nullptr;
    mamuto_error_t err = {};
    const char *modules[] = { argc > 1 ? argv[1] : "scale.c", nullptr };
    mamuto_options_t options = {};
    options.modules = modules;

    bool ok = mamuto_open_wait(&m, &options, &err) == 0;
    if (ok) {
        std::vector<double> x(10007);
        std::iota(x.begin(), x.end(), 1.0);
        const double factor = 3;
        ok = map(m, x, mamuto_broadcast(&factor), &err) && map_with_kept(m, x, factor, &err) &&
             reduce(m, x, factor, &err) && emit(m, &err);
        ok = mamuto_close_wait(m) == 0 && ok;
    }
    if (!ok)
        std::fprintf(stderr, "%s: %s\n", mamuto_strerror(err.code), err.text);
    return ok ? 0 : 1;
}
