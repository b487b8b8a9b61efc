"""Peer: multiprocessing.Pool in a warm interpreter. A figure is the time from opening a pool of two processes to its
first result, in milliseconds; closing it is not timed. The protocol is in peer.h."""
import multiprocessing
import statistics
import sys
import time


def item(x):
    return x + 1


def open_once():
    start = time.perf_counter()
    pool = multiprocessing.Pool(2)
    results = pool.map(item, [1, 2])
    seconds = time.perf_counter() - start
    pool.close()
    pool.join()
    if results != [2, 3]:
        sys.exit("error wrong results")
    return seconds * 1e3


def turn(ms):
    end = time.perf_counter() + ms / 1e3
    times = [open_once()]
    while time.perf_counter() < end:
        times.append(open_once())
    return statistics.median(times)


def main():
    open_once()
    print("ready", flush=True)
    for line in sys.stdin:
        words = line.split()
        print("time %.9g ms" % turn(float(words[1])) if words[0] == "run" else "none 0 -", flush=True)


if __name__ == "__main__":
    main()
