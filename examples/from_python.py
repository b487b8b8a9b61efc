#!/usr/bin/env python3
"""mamuto from Python, by ctypes: NumPy arrays are passed in place.

The program of the article that mamuto re-creates, call for call: a mapper that depends on a module, a function of it, an
argument that the hosts keep, and a map over the others. Prints what it checks.

    from_python.py [LIBRARY [MODULES]]      libmamuto.so; the folder of model.c
"""
import ctypes as c
import os
import sys

import numpy as np

MAX_ARGS, MAX_DIMS, SCATTER, BROADCAST, RESIDENT = 8, 8, 1, 2, 6


class Error(c.Structure):
    _fields_ = [("code", c.c_int), ("item_code", c.c_int), ("signal", c.c_int), ("worker", c.c_int), ("line", c.c_int),
                ("item", c.c_uint64), ("host", c.c_char * 64), ("file", c.c_char * 256), ("text", c.c_char * 512)]


class Arg(c.Structure):
    _fields_ = [("kind", c.c_int), ("data", c.c_void_p), ("count", c.c_size_t), ("stride", c.c_ssize_t),
                ("offsets", c.c_void_p), ("kept", c.c_void_p), ("reserved", c.c_size_t * 2)]


class Call(c.Structure):
    _fields_ = [("function", c.c_char_p), ("args", Arg * MAX_ARGS), ("count", c.c_size_t),
                ("dims", c.c_size_t * MAX_DIMS), ("result", c.c_void_p), ("result_stride", c.c_ssize_t),
                ("result_var", c.c_void_p), ("fold", c.c_char_p), ("value", c.c_void_p), ("if_empty", c.c_void_p),
                ("seed", c.c_uint64), ("priority", c.c_int), ("item_timeout_ms", c.c_int), ("retries", c.c_int),
                ("once", c.c_int), ("on_error", c.c_int), ("help", c.c_int), ("data", c.c_void_p),
                ("on_done", c.c_void_p), ("on_progress", c.c_void_p), ("on_spans", c.c_void_p),
                ("on_item_error", c.c_void_p), ("reserved", c.c_size_t * 16)]


class Keep(c.Structure):
    _fields_ = [("type", c.c_char_p), ("arg", Arg), ("dims", c.c_size_t * MAX_DIMS), ("data", c.c_void_p),
                ("on_kept", c.c_void_p), ("reserved", c.c_size_t * 8)]


class Options(c.Structure):
    _fields_ = [("config", c.c_char_p), ("config_text", c.c_char_p), ("modules", c.POINTER(c.c_char_p)),
                ("loop", c.c_void_p), ("data", c.c_void_p), ("on_open", c.c_void_p), ("on_host", c.c_void_p),
                ("on_output", c.c_void_p), ("reserved", c.c_size_t * 16)]


class Mapper:
    """The article's Mapper(configfile, depends=[…]), without a config file: all cores of this machine."""

    def __init__(self, library, depends):
        self.lib = c.CDLL(library)
        self.lib.mamuto_alloc.restype = c.c_void_p
        self.mapper = c.c_void_p()
        modules = (c.c_char_p * (len(depends) + 1))(*[os.fsencode(path) for path in depends], None)
        self.call(self.lib.mamuto_open_wait, c.byref(self.mapper), c.byref(Options(modules=modules)))

    def call(self, function, *args):
        err = Error()
        if function(*args, c.byref(err)) != 0:
            raise RuntimeError(err.text.decode())

    def array(self, shape):
        """A NumPy array in memory that the workers share: nothing is copied."""
        count = int(np.prod(shape))
        memory = self.lib.mamuto_alloc(self.mapper, c.c_size_t(count), c.c_size_t(8), None)
        if not memory:
            raise MemoryError
        return np.frombuffer((c.c_double * count).from_address(memory), dtype=np.float64).reshape(shape)

    def keep(self, value, kind):
        """add_remote_arguments(): sent once, used by many calls."""
        kept = c.c_void_p()
        keep = Keep(type=kind, arg=Arg(kind=BROADCAST, data=value.ctypes.data))
        self.call(self.lib.mamuto_keep_wait, self.mapper, c.byref(keep), c.byref(kept))
        return kept

    def remap(self, function, items, kept, result):
        args = (Arg * MAX_ARGS)(Arg(kind=SCATTER, data=items.ctypes.data, count=len(items)),
                                Arg(kind=RESIDENT, kept=kept))
        call = Call(function=function, args=args, result=result.ctypes.data)
        self.call(self.lib.mamuto_map_wait, self.mapper, c.byref(call))

    def close(self):
        self.lib.mamuto_close_wait(self.mapper)


def like(p, data):
    """The serial computation: the sum of three terms, in the module's order."""
    total = np.zeros(len(p))
    for k in range(3):
        d = data[k] - p[:, k]
        total -= d * d / 0.02
    return total


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    library = sys.argv[1] if len(sys.argv) > 1 else "libmamuto.so.0"
    modules = sys.argv[2] if len(sys.argv) > 2 else os.path.join(here, "modules")
    mapper = Mapper(library, depends=[os.path.join(modules, "model.c")])
    data = np.array([0.1, 0.2, 0.3])
    kept = mapper.keep(data, b"f8[3]")
    for n in (1000, 100000):
        p, shared = np.random.default_rng(42).random((n, 3)), mapper.array((n, 3))
        result, place = np.empty(n), mapper.array(n)
        shared[:] = p
        mapper.remap(b"model.like3", p, kept, result)  # arrays of NumPy's own
        mapper.remap(b"model.like3", shared, kept, place)  # arrays that the workers share
        right = np.array_equal(result, like(p, data)) and np.array_equal(place, result)
        print(f"n = {n}: the sum of the log-likelihoods is {result.sum():.6f}, "
              f"{'the same as' if right else 'NOT what'} NumPy computes")
        if not right:
            return 1
    mapper.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
