// A C++17 program outside of the tree: consumer MODULE. Maps a function of the module and compares with its own loop.
#include <cstdio>
#include <mamuto.h>
#include <numeric>
#include <vector>

static bool compute(mamuto_t *m, mamuto_error_t *err)
{
    std::vector<double> x(10007), out(x.size());
    std::iota(x.begin(), x.end(), 1.0);
    const double factor = 3;

    mamuto_call_t call = {};
    call.function = "scale.scale";
    call.args[0] = mamuto_scatter(x.data(), x.size());
    call.args[1] = mamuto_broadcast(&factor);
    call.result = out.data();
    if (mamuto_map_wait(m, &call, err))
        return false;
    for (std::size_t i = 0; i < x.size(); i++) {
        if (out[i] != x[i] * factor)
            return false;
    }
    return true;
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
        ok = compute(m, &err);
        ok = mamuto_close_wait(m) == 0 && ok;
    }
    if (!ok)
        std::fprintf(stderr, "%s: %s\n", mamuto_strerror(err.code), err.text);
    return ok ? 0 : 1;
}
