/*
 * A model of what makes a crash cost nothing: claim, commit, wake-up, crash, sweep and re-run (shm/claim.c,
 * shm/board.c, shm/park.c, shm/sweep.c); with ONCE, of maps in which no item is run twice (shm/once.c). tests/model/run searches it whole with Spin, in several small shapes.
 *
 * In it: one board slot, which MAPS maps use one after the other; LANES workers; one master; a kernel that kills
 * any worker between any two of its stores, DEATHS times in all, plus the item POISON, which kills whoever runs it;
 * the fork server, folded into the worker that died: it reports the death some time after the kill, and forks again
 * when the master says so.
 *
 * Checked: no grain is run by two live workers, or again once it is done; no grain and no item is settled twice;
 * done words come after the results; at on_done every item has a result or is listed as failed, and only items that
 * were being run singly at a death are listed; nothing is written for a map after its on_done, nor for the next map
 * of the board slot by a late worker; the returned ranges are never more than the deaths. A lost wake-up, or a grain
 * that nobody names, ends in a stuck state (only the labels end_ may be stuck in). LIVENESS: every map ends. ONCE: no
 * grain is begun twice, whoever dies, and only grains of a block that was named, and are not done, are failed for it.
 *
 * Not in it: memory order. Spin is sequentially consistent: each "fence" below marks where the C code needs
 * seq_cst; ThreadSanitizer and the unit tests look after that. Nor: several maps in flight, priorities, remote hosts,
 * time-outs, reduce, the table of returned ranges overflowing.
 *
 * One statement is one load or store of shared memory; an atomic or d_step block is one load, store or
 * compare-and-swap together with local work (and with ghosts, which only the assertions read). Where it reads several
 * words at once (the scan for returned ranges, the done words) a slower reader would see no more: a done word is
 * never cleared in its map, and what a scan misses mm_park looks for again.
 *
 * NEG_x plants one bug, and the runner fails unless Spin finds it:
 *   NEG_PARK            the sleeper does not look again after parked = 1
 *   NEG_INTENT_AFTER    the intent is not published before the compare-and-swap
 *   NEG_COUNT           completion trusts n_done, not the done words
 *   NEG_SWEEP_DONE      the sweep does not look at the done words
 *   NEG_HAZARD          a board slot is reused though a worker is in it
 *   NEG_ADD             with NEG_HAZARD: the word is taken by an unconditional add
 *   NEG_MOVES           the sweep does not look at the moves counters
 *   NEG_MOVES_ODD       a dead thief's counter stays odd for its successor
 *   NEG_ENTER           a worker that enters does not look at the generation again
 *   NEG_HINT            a worker writes the eventfd only at n_done == n_grains, after a death too
 *   NEG_COMPLETE_SLOTS  all grains done, but completion waits until all live slots are empty
 *   NEG_RESET           a lane counts as live before its slot is reset
 *   NEG_INTENT_HELD     the sweep takes an intent for a claim
 *   NEG_TORN            the sweep reads a slot's range and its state by two loads
 *   NEG_DEAF            the sweep waits for a lane that died meanwhile
 *   NEG_CURSOR_DONE     the item at the dead lane's cursor is failed though its grain is done
 *   NEG_CURSOR_STALE    the cursor of an earlier chunk is left standing
 *   NEG_WAKE_ALL        the sweep wakes only lanes whose parked word is 1
 *   NEG_CANCEL          a cancelled map ends when all slots are empty, not when nobody is in it
 *   NEG_LEAVE           a worker that leaves a cancelled map does not tell the master
 *   NEG_BLOCK_END       ONCE: a block's end is stored before its begin
 *   NEG_BLOCK_STALE     ONCE: the block of an earlier chunk is left standing when the next one is owned
 *   NEG_DONE_LATE       ONCE: a block's done words are stored after the next block is named
 */

/* The shape. */
#ifndef LANES
#define LANES 2
#endif
#ifndef GRAINS
#define GRAINS 3
#endif
#ifndef PART1
#define PART1 3
#endif
#ifndef PART2
#define PART2 GRAINS
#endif
#ifndef ITEMS
#define ITEMS 1
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef MAPS
#define MAPS 1
#endif
#ifndef WAKES
#define WAKES 2
#endif
#ifndef BLOCK
#define BLOCK 1             /* ONCE, where a grain is an item: grains of a block */
#endif

#define N_ENTRIES 4
#if DEATHS > 0 || defined(POISON)
#define RETURNS
#endif
#define ALL_GRAINS MASK(0, GRAINS)
#define MASK(b, e) ((1 << (e)) - (1 << (b)))

/* A lane's range word: generation | begin | end. */
#define WORD(g, b, e) (((g) << 6) | ((b) << 3) | (e))
#define W_GEN(w) ((w) >> 6)
#define W_BEGIN(w) (((w) >> 3) & 7)
#define W_END(w) ((w) & 7)
#define W_OPEN(w) (W_BEGIN(w) < W_END(w))

/* The claim slot, one word: state | begin | end | single | first item of the first grain. */
#define NONE 0
#define INTENT 1
#define OWNED 2
#define SLOT(st, b, e, sf) ((st) | ((b) << 2) | ((e) << 5) | ((sf) << 8))
#define S_STATE(s) ((s) & 3)
#define S_BEGIN(s) (((s) >> 2) & 7)
#define S_END(s) (((s) >> 5) & 7)
#define S_SINGLE(s) (((s) >> 8) & 1)
#define S_FIRST(s) (((s) >> 9) & 1)
#define S_MASK(s) MASK(S_BEGIN(s), S_END(s))

/* An entry of the table of returned ranges, one word: state | begin | end | single | first. */
#define FREE 0
#define READY 1
#define TAKEN(lane) (2 + (lane))
#define ENTRY(st, b, e, sf) ((st) | ((b) << 3) | ((e) << 6) | ((sf) << 9))
#define E_STATE(x) ((x) & 7)
#define E_BEGIN(x) (((x) >> 3) & 7)
#define E_END(x) (((x) >> 6) & 7)
#define E_SF(x) ((x) >> 9)

/* A lane's process, as the kernel and the fork server see it. */
#define ALIVE 0
#define KILLED 1 /* gone; waitid has not said so yet */
#define GONE 2   /* reaped and reported; waits for the master's word */
#define REFORK 3 /* the master has swept: may be forked again */

/* Board slot. */
byte map_gen;               /* 0: closed */
bit cancel;
byte word[3];
short entry[N_ENTRIES];
byte done;                  /* bit g is grain g's done word */
byte n_done;
bit saw_death;

/* Lanes. */
bit parked[3];
byte in_gen[3];
short slot[3];
byte cursor[3];             /* item + 1; 0: no item begun */
byte moves[3];
#ifdef ONCE
byte block_end[3];          /* the block that runs is from the cursor to there */
#endif

/* The master, the kernel, the fork server's socket. */
bit polling;
bit eventfd;
bit asleep[3];              /* the kernel's futex queues */
byte process[3];
bit death_message[3];
byte deaths = DEATHS;

/* Ghosts: what only the assertions see. */
byte open_map;              /* the map for which somebody may write */
byte running[3];            /* grains that the lane is running */
byte item_of[3];            /* item + 1 that it is running singly */
byte stored;                /* items whose results are stored */
byte failed;                /* items that the master has listed */
byte blamed;                /* items that were being run singly at a death */
bit finished;
#ifdef ONCE
byte ran;                   /* grains that were begun */
byte named;                 /* grains of blocks that were named */
#endif

#define ANY_MESSAGE (death_message[0] || death_message[1] || death_message[2])
#ifdef NEG_DEAF
#define HEARD_DEATH false
#else
#define HEARD_DEATH ANY_MESSAGE
#endif
#define ANY_WORD (W_OPEN(word[0]) || W_OPEN(word[1]) || W_OPEN(word[2]))
#define ANY_READY (E_STATE(entry[0]) == READY || E_STATE(entry[1]) == READY || \
                   E_STATE(entry[2]) == READY || E_STATE(entry[3]) == READY)
#define OPEN_WORK (map_gen != 0 && !cancel && (ANY_WORD || ANY_READY))

inline die(i) {
    d_step {
        process[i] = KILLED;
        asleep[i] = 0;
        running[i] = 0;
        if
        :: item_of[i] != 0 -> blamed = blamed | (1 << (item_of[i] - 1))
        :: else
        fi;
        item_of[i] = 0
    }
}

/* The last steps of mm_board_leave: somebody may wait for this lane to be out. */
inline board_leave() {
    in_gen[me] = 0;
#ifndef NEG_LEAVE
    /* fence */
    if
    :: map_gen != gen || cancel ->
        if
        :: polling -> eventfd = 1
        :: else
        fi
    :: else
    fi
#endif
}

/* mm_wake by a worker; it can be killed between its two steps. */
inline wake_lane(i) {
    atomic {
        if
        :: parked[i] -> parked[i] = 0; rouse = 1
        :: else -> rouse = 0
        fi
    };
    if
    :: rouse -> d_step { asleep[i] = 0; rouse = 0 } /* FUTEX_WAKE */
    :: else
    fi
}

/* What a dead lane left behind: by the master, before it counts the lane as live. */
inline reset(x) {
    slot[x] = NONE;
    in_gen[x] = 0;
    parked[x] = 0;
    cursor[x] = 0;
#ifndef NEG_MOVES_ODD
    moves[x] = moves[x] + (moves[x] & 1)
#endif
}

inline forget() {
    d_step {
#ifdef ONCE
        at = 0; last = 0;
#endif
        gen = 0; seen = 0; k = 0; victim = 0; b = 0; e = 0; sf = 0; from = 0; ok = 0; rouse = 0
    }
}

/* set_cursor of shm/claim.c: two stores, but nobody looks at a block whose chunk is not owned yet. */
#if defined(ONCE) && !defined(NEG_BLOCK_STALE)
#define EMPTY_BLOCK atomic { block_end[me] = b; cursor[me] = b + 1 };
#else
#define EMPTY_BLOCK
#endif

/* mm_grain_commit, of the grains that have run. */
inline once_done() {
    do
    :: atomic {
            at < k;
            assert(open_map == gen && !(done & (1 << at)) && (stored & (1 << at)));
            done = done | (1 << at)
        };
        d_step {
            assert(map_gen == gen || map_gen == 0);
            n_done++;
            ok = (n_done >= GRAINS);
            at++
        }
    :: else -> break
    od
}

inline forget_claim() {
    d_step { k = 0; b = 0; e = 0; sf = 0 }
}

proctype Worker(byte me) {
    byte gen, victim, b, e, k;
    byte sf;        /* single | first << 1 */
    short seen;
    byte from;      /* entry + 1 that the chunk came from */
    bit ok, rouse;
#ifdef ONCE
    byte at, last;  /* grains of the block: not done from here on; its end */
#endif

life:
    {
        do
        :: /* mm_board_enter */
            atomic {
                gen = map_gen;
                if
                :: gen == 0 -> goto park
                :: else
                fi
            };
            in_gen[me] = gen;
            /* fence */
            if
#ifndef NEG_ENTER
            :: map_gen != gen || cancel -> goto leave
#endif
            :: else
            fi;

claim:
#ifdef CANCEL
            if
            :: cancel -> goto leave
            :: else
            fi;
#endif
#ifdef RETURNS
            /* mm_claim_returned: the scan is one step; mm_park looks again. */
            atomic {
                if
                :: E_STATE(entry[0]) == READY -> k = 0; seen = entry[0]
                :: E_STATE(entry[1]) == READY -> k = 1; seen = entry[1]
                :: E_STATE(entry[2]) == READY -> k = 2; seen = entry[2]
                :: E_STATE(entry[3]) == READY -> k = 3; seen = entry[3]
                :: else -> goto claim_own
                fi;
                b = E_BEGIN(seen);
                e = E_END(seen);
                sf = E_SF(seen)
            };
#ifndef NEG_CURSOR_STALE
            cursor[me] = 0;
#endif
            slot[me] = SLOT(INTENT, b, e, sf);
            atomic {
                if
                :: entry[k] == seen ->
                    seen = 0;
#ifdef NO_TAKEN
                    entry[k] = FREE;
#else
                    entry[k] = ENTRY(TAKEN(me), b, e, sf);
                    from = k + 1;
#endif
                    k = 0;
                    goto own
                :: else -> seen = 0; goto unclaim
                fi
            };
claim_own:
#endif
            /* mm_claim_own */
            atomic {
                seen = word[me];
                if
                :: W_OPEN(seen) && W_GEN(seen) == gen ->
                    b = W_BEGIN(seen);
                    e = b + (W_END(seen) - b + 1) / 2
                :: else -> seen = 0; goto claim_steal
                fi
            };
#ifndef NEG_INTENT_AFTER
            slot[me] = SLOT(INTENT, b, e, 0);
#endif
            atomic {
#ifdef NEG_ADD
                seen = word[me];
                word[me] = seen + WORD(0, e - b, 0);
                e = W_BEGIN(seen) + e - b;
                b = W_BEGIN(seen);
                if
                :: e > W_END(seen) -> e = W_END(seen)
                :: else
                fi;
                if
                :: b < e ->
                    assert(W_GEN(seen) == gen); /* else it ate from the next map */
                    seen = 0;
                    goto own
#else
                if
                :: word[me] == seen ->
                    word[me] = WORD(gen, e, W_END(seen));
                    seen = 0;
                    goto own
#endif
                :: else -> seen = 0; goto unclaim
                fi
            };

claim_steal: /* mm_claim_steal: any victim that has something */
            atomic {
                if
                :: me != 0 && W_OPEN(word[0]) && W_GEN(word[0]) == gen -> victim = 0
                :: me != 1 && W_OPEN(word[1]) && W_GEN(word[1]) == gen -> victim = 1
                :: me != 2 && W_OPEN(word[2]) && W_GEN(word[2]) == gen -> victim = 2
                :: else -> goto leave
                fi;
                seen = word[victim];
                b = W_BEGIN(seen) + (W_END(seen) - W_BEGIN(seen)) / 2;
                e = W_END(seen)
            };
#ifndef NEG_INTENT_AFTER
            slot[me] = SLOT(INTENT, b, e, 0);
#endif
            atomic {
                if
                :: word[victim] == seen -> word[victim] = WORD(gen, W_BEGIN(seen), b)
                :: else -> seen = 0; victim = 0; goto unclaim
                fi;
                seen = 0;
                victim = 0;
                if
                :: e - b == 1 -> goto own
                :: else
                fi
            };
            EMPTY_BLOCK
            moves[me]++;
            d_step {
                word[me] = WORD(gen, b + (e - b + 1) / 2, e);
                e = b + (e - b + 1) / 2
            };
            slot[me] = SLOT(OWNED, b, e, 0);
            moves[me]++;
            goto execute;

unclaim:    /* somebody was faster */
            atomic { slot[me] = NONE; forget_claim() };
            goto claim;

own:
            EMPTY_BLOCK
            slot[me] = SLOT(OWNED, b, e, sf);

execute:    /* mm_chunk_run */
            atomic {
                assert(open_map == gen);
                assert(((running[0] | running[1] | running[2]) & MASK(b, e)) == 0);
                assert((done & MASK(b, e)) == 0);
                running[me] = MASK(b, e);
#ifdef ONCE
                k = b; at = b;
                goto once;
#endif
                if
                :: sf == 0 -> stored = stored | MASK(b * ITEMS, e * ITEMS); k = b
                :: else -> k = b * ITEMS + (sf >> 1); goto singly
                fi
            };
#ifdef POISON
            if
            :: b * ITEMS <= POISON && POISON < e * ITEMS -> die(me)
            :: else
            fi;
#endif
            /* mm_chunk_commit: the done words, ... */
            do
            :: d_step {
                    k < e;
                    assert(open_map == gen && !(done & (1 << k)));
                    assert((stored & MASK(k * ITEMS, (k + 1) * ITEMS)) == MASK(k * ITEMS, (k + 1) * ITEMS));
                    done = done | (1 << k);
                    k++
                }
            :: atomic { k == e -> goto commit }
            od;

singly:     /* mm_chunk_run_singly */
            do
            :: atomic {
                    k < e * ITEMS;
                    cursor[me] = k + 1;
                    item_of[me] = k + 1
                };
#ifdef POISON
                if
                :: k == POISON -> die(me)
                :: else
                fi;
#endif
                atomic {
                    assert(open_map == gen && !(done & (1 << (k / ITEMS))) && !(failed & (1 << k)));
                    stored = stored | (1 << k);
                    if
                    :: (k + 1) % ITEMS == 0 -> skip
                    :: else -> k++; goto singly
                    fi
                };
                d_step {
                    assert(open_map == gen && !(done & (1 << (k / ITEMS))));
                    assert(((stored | failed) & MASK(k + 1 - ITEMS, k + 1)) == MASK(k + 1 - ITEMS, k + 1));
                    done = done | (1 << (k / ITEMS));
                    k++
                }
            :: atomic { k == e * ITEMS -> item_of[me] = 0; goto commit }
            od;

#ifdef ONCE
once:       /* mm_once_run */
            atomic {
                if
                :: k == e -> goto once_end
                :: else -> last = (k + BLOCK < e -> k + BLOCK : e)
                fi;
#ifdef NEG_BLOCK_END
                block_end[me] = last
#else
                cursor[me] = k + 1 /* with the end of the block before: an empty one */
#endif
            };
            d_step {
#ifdef NEG_BLOCK_END
                cursor[me] = k + 1;
#else
                block_end[me] = last;
#endif
                named = named | MASK(k, last)
            };
#ifdef NEG_DONE_LATE
            once_done();
#endif
            do
#ifdef POISON
            :: k < last && k == POISON -> die(me)
            :: d_step {
                    k < last && k != POISON;
#else
            :: d_step {
                    k < last;
#endif
                    assert(open_map == gen && !((ran | done | failed) & (1 << k)));
                    ran = ran | (1 << k);
                    stored = stored | (1 << k);
                    k++
                }
            :: k == last -> break
            od;
#ifndef NEG_DONE_LATE
            once_done();
#endif
            goto once;

once_end:
#ifdef NEG_DONE_LATE
            once_done();
#endif
            atomic { at = 0; last = 0 };
#endif

commit:     /* ... then the slot, the entry, the count, the eventfd */
            atomic { slot[me] = NONE; running[me] = 0; k = e - b; b = 0; e = 0; sf = 0 };
#ifdef ONCE
            k = 0;                  /* they are counted already */
#endif
#if defined(RETURNS) && !defined(NO_TAKEN)
            if
            :: atomic { from != 0 -> entry[from - 1] = FREE; from = 0 }
            :: from == 0
            fi;
#endif
#ifndef ONCE
            d_step {
                assert(map_gen == gen || map_gen == 0);
                n_done = n_done + k;
                ok = (n_done >= GRAINS);
                k = 0
            };
#endif
            /* fence */
            atomic {
                if
#ifdef NEG_HINT
                :: ok -> ok = 0
#else
                :: ok || saw_death -> ok = 0
#endif
                :: else -> goto claim
                fi
            };
            if
            :: polling -> eventfd = 1
            :: else
            fi;
            goto claim;

leave:
            board_leave();
            gen = 0;

park:       /* mm_park */
#ifdef PARK
            parked[me] = 1;
            /* fence */
            if
#ifndef NEG_PARK
            :: OPEN_WORK
#endif
            :: else ->
                atomic {
                    if
                    :: parked[me] -> asleep[me] = 1
                    :: else
                    fi
                };
end_asleep:     !asleep[me]
            fi;
            parked[me] = 0;
            if
            :: OPEN_WORK -> wake_lane((me + 1) % LANES)
            :: else
            fi
#else
end_idle:   (OPEN_WORK)
#endif
        od
    } unless {
        atomic {
            process[me] == KILLED;
            /* mm_forkserver_reap: waitid has named it */
            forget();
            process[me] = GONE;
            death_message[me] = 1
        }
    };
end_gone: /* mm_forkserver_refork */
    atomic {
        process[me] == REFORK;
#ifdef NEG_RESET
        d_step { reset(me) };
#endif
        process[me] = ALIVE
    };
    goto life
}

/* The kernel, which kills whom it likes between any two steps. */
#define MAY_KILL(i) (deaths > 0 && !finished && process[i] == ALIVE)

proctype Killer() {
end_killer:
    do
    :: atomic { MAY_KILL(0) -> deaths--; die(0) }
    :: atomic { MAY_KILL(1) -> deaths--; die(1) }
#if LANES > 2
    :: atomic { MAY_KILL(2) -> deaths--; die(2) }
#endif
    od
}

#define LIVE(i) (!(dead & (1 << (i))))
#define NO_CHUNK(i) (!LIVE(i) || S_STATE(slot[i]) == NONE)
#define NO_LIVE_CHUNK (NO_CHUNK(0) && NO_CHUNK(1) && NO_CHUNK(2))
#define LIVE_ODD(i) (LIVE(i) && (moves[i] & 1))
#define ANY_LIVE_ODD (LIVE_ODD(0) || LIVE_ODD(1) || LIVE_ODD(2))

inline take_messages() {
    d_step {
        i = 0;
        do
        :: i < LANES ->
            if
            :: death_message[i] -> death_message[i] = 0; dead = dead | (1 << i)
            :: else
            fi;
            i++
        :: else -> break
        od;
        i = 0
    }
}

inline hold_word(x) {
    d_step {
        if
        :: W_OPEN(word[x]) -> held = held | MASK(W_BEGIN(word[x]), W_END(word[x]))
        :: else
        fi
    }
}

proctype Master() {
    byte map = 1;
    byte i, n, g;
    byte dead;          /* lanes that waitid named; not live until they are swept */
    byte held, lost, single, firsts;
    byte moved[3];
    short s;

submit: /* mm_board_reusable: nobody is in the slot's old map */
#ifndef NEG_HAZARD
    polling = 1;
    /* fence; look */
    if
    :: map > 1 && (in_gen[0] == map - 1 || in_gen[1] == map - 1 || in_gen[2] == map - 1) ->
        eventfd || ANY_MESSAGE;
        d_step { polling = 0; eventfd = 0 };
        if
        :: ANY_MESSAGE -> goto death
        :: else -> goto submit
        fi
    :: else
    fi;
    d_step { polling = 0; eventfd = 0 };
#endif
    /* mm_map_open: the contents first, the generation last */
    n_done = 0;
    d_step {
        entry[0] = 0; entry[1] = 0; entry[2] = 0; entry[3] = 0;
#ifdef ONCE
        ran = 0; named = 0;
#endif
        done = 0; stored = 0; failed = 0; blamed = 0; saw_death = 0; cancel = 0
    };
    d_step {
        open_map = map;
        word[0] = WORD(map, 0, PART1);
        word[1] = WORD(map, PART1, PART2);
        word[2] = WORD(map, PART2, GRAINS)
    };
    map_gen = map;
#ifdef PARK
    /* fence; mm_wake */
    i = 0; n = 0;
    do
    :: i < LANES && n < WAKES ->
        atomic {
            if
            :: parked[i] -> parked[i] = 0; n++; held = 1
            :: else -> held = 0
            fi
        };
        if
        :: held -> d_step { asleep[i] = 0; held = 0 }
        :: else
        fi;
        i++
    :: else -> d_step { i = 0; n = 0 }; break
    od;
#endif

loop:
    polling = 1;
    /* fence; look */
    if
#ifdef CANCEL
    :: !cancel -> cancel = 1; goto loop
#ifdef NEG_CANCEL
    :: cancel && slot[0] == NONE && slot[1] == NONE && slot[2] == NONE -> goto complete
    :: cancel && !(slot[0] == NONE && slot[1] == NONE && slot[2] == NONE)
#else
    :: cancel && in_gen[0] != map && in_gen[1] != map && in_gen[2] != map -> goto complete
    :: cancel && !(in_gen[0] != map && in_gen[1] != map && in_gen[2] != map)
#endif
#endif
#ifdef NEG_COUNT
    :: !cancel && n_done >= GRAINS -> goto complete
    :: !cancel && n_done < GRAINS
#elif defined(NEG_COMPLETE_SLOTS)
    :: !cancel && done == ALL_GRAINS && ((saw_death && NO_LIVE_CHUNK) || n_done >= GRAINS) -> goto complete
    :: !cancel && !(done == ALL_GRAINS && ((saw_death && NO_LIVE_CHUNK) || n_done >= GRAINS))
#else
    :: !cancel && done == ALL_GRAINS && (saw_death || n_done >= GRAINS) -> goto complete
    :: !cancel && !(done == ALL_GRAINS && (saw_death || n_done >= GRAINS))
#endif
    fi;
    eventfd || ANY_MESSAGE;
    d_step { polling = 0; eventfd = 0 };
    if
    :: ANY_MESSAGE -> goto death
    :: else -> goto loop
    fi;

death: /* mm_sweep */
    if
    :: map_gen != 0 -> saw_death = 1
    :: else
    fi;
pass:
    held = 0;
    take_messages();
    if
    :: map_gen == 0 || cancel -> goto swept
    :: else
    fi;
#ifndef NEG_MOVES
    do
    :: atomic {
            i < LANES;
            moved[i] = moves[i];
            if
            :: LIVE(i) && (moved[i] & 1) ->
                i = 0; moved[0] = 0; moved[1] = 0; moved[2] = 0;
                /* One of these must come, or the sweep hangs. */
                !ANY_LIVE_ODD || HEARD_DEATH;
                goto pass
            :: else -> i++
            fi
        }
    :: else -> i = 0; break
    od;
#endif
    if /* in either order */
    :: true -> hold_word(0); hold_word(1)
    :: true -> hold_word(1); hold_word(0)
    fi;
    hold_word(2);
    do
    :: d_step {
            i < N_ENTRIES;
            if
            :: E_STATE(entry[i]) == READY ||
               (E_STATE(entry[i]) > READY && LIVE(E_STATE(entry[i]) - TAKEN(0))) ->
                held = held | MASK(E_BEGIN(entry[i]), E_END(entry[i]))
            :: else
            fi;
            i++
        }
    :: else -> i = 0; break
    od;
    do
    ::
#ifdef NEG_TORN
        i < LANES;
        s = slot[i]; /* two loads: the range, then the state */
#endif
        atomic {
            i < LANES;
            if
            :: LIVE(i) ->
#ifdef NEG_TORN
                s = (s & ~3) | S_STATE(slot[i]);
#else
                s = slot[i];
#endif
                if
#ifndef NEG_INTENT_HELD
                :: S_STATE(s) == INTENT ->
                    s = 0; held = 0;
                    S_STATE(slot[i]) != INTENT || HEARD_DEATH;
                    i = 0;
                    goto pass
#endif
                :: S_STATE(s) == NONE
                :: else -> held = held | S_MASK(s)
                fi;
                s = 0
            :: else
            fi;
            i++
        }
    :: else -> i = 0; break
    od;
#ifdef NEG_SWEEP_DONE
    lost = ALL_GRAINS & ~held;
#else
    lost = ALL_GRAINS & ~(held | done);
#endif
    held = 0;
#ifndef NEG_MOVES
    do
    :: atomic {
            i < LANES;
            if
            :: LIVE(i) && moved[i] != moves[i] ->
                lost = 0; i = 0; moved[0] = 0; moved[1] = 0; moved[2] = 0;
                goto pass
            :: else -> i++
            fi
        }
    :: else -> d_step { i = 0; moved[0] = 0; moved[1] = 0; moved[2] = 0 }; break
    od;
#endif

    /* The lanes are dead: their slots and cursors stand still. */
    do
    :: d_step {
            i < LANES;
            if
            :: dead & (1 << i) ->
                n++;
                s = slot[i];
#ifdef ONCE
                g = S_BEGIN(s);
                do
                :: S_STATE(s) == OWNED && g < S_END(s) ->
                    if
                    :: cursor[i] <= g + 1 && g < block_end[i] && !(done & (1 << g)) -> /* it may have run */
                        assert(named & (1 << g));
                        failed = failed | (1 << g);
                        done = done | (1 << g);
                        n_done++;
                        lost = lost & ~(1 << g)
                    :: else
                    fi;
                    g++
                :: else -> g = 0; break
                od;
#else
                if
                :: S_STATE(s) == OWNED || (S_STATE(s) == INTENT && S_SINGLE(s)) -> single = single | S_MASK(s)
                :: else
                fi;
                if
                :: S_STATE(s) != NONE && S_SINGLE(s) ->
                    if
                    :: S_STATE(s) == OWNED && cursor[i] != 0 ->
                        g = (cursor[i] - 1) / ITEMS;
                        if
#ifdef NEG_CURSOR_DONE
                        :: true ->
#else
                        :: !(done & (1 << g)) ->
#endif
                            assert(!(failed & (1 << (cursor[i] - 1))) && !(done & (1 << g)));
                            failed = failed | (1 << (cursor[i] - 1));
                            if
                            :: cursor[i] % ITEMS == 0 ->
                                done = done | (1 << g);
                                n_done++;
                                lost = lost & ~(1 << g)
                            :: else -> firsts = firsts | (1 << g)
                            fi
                        :: else
                        fi;
                        g = 0
                    :: S_STATE(s) == OWNED && cursor[i] == 0 && S_FIRST(s) -> firsts = firsts | (1 << S_BEGIN(s))
                    :: S_STATE(s) == INTENT && S_FIRST(s) -> firsts = firsts | (1 << S_BEGIN(s))
                    :: else
                    fi
                :: else
                fi;
#endif
                s = 0
            :: else
            fi;
            i++
        }
    :: else -> i = 0; break
    od;
    do /* an entry that a dead lane took is free */
    :: d_step {
            i < N_ENTRIES;
            if
            :: E_STATE(entry[i]) > READY && !LIVE(E_STATE(entry[i]) - TAKEN(0)) -> entry[i] = FREE
            :: else
            fi;
            i++
        }
    :: else -> i = 0; break
    od;
    do /* mm_return_range */
    :: d_step {
            lost != 0;
            assert(n > 0); /* no more ranges than deaths: the table cannot overflow */
            n--;
            do
            :: !(lost & (1 << g)) -> g++
            :: else -> break
            od;
            do
            :: entry[i] != FREE -> i++
            :: else -> break
            od;
            s = ENTRY(READY, g, 0, ((single >> g) & 1) | (((firsts >> g) & 1) << 1));
            do
            :: lost & (1 << g) ->
                lost = lost & ~(1 << g);
                g++;
                if
                :: (lost & (1 << g)) && ((single >> g) & 1) == ((single >> (g - 1)) & 1) && !(firsts & (1 << g))
                :: else -> break
                fi
            :: else -> break
            od;
            entry[i] = s | (g << 6);
            s = 0; g = 0; i = 0
        }
    :: else -> d_step { single = 0; firsts = 0; n = 0 }; break
    od;

swept:
    do
    :: d_step {
            i < LANES;
            if
            :: dead & (1 << i) ->
#ifndef NEG_RESET
                reset(i);
#endif
#ifndef NO_REFORK
                dead = dead & ~(1 << i);
                process[i] = REFORK
#endif
            :: else
            fi;
            i++
        }
    :: else -> i = 0; break
    od;
#ifdef PARK
    do /* mm_wake_all: a FUTEX_WAKE whatever parked says: a waker may have died before its own */
    :: i < LANES ->
#ifdef NEG_WAKE_ALL
        if
        :: parked[i] -> parked[i] = 0; asleep[i] = 0
        :: else
        fi;
#else
        parked[i] = 0;
        asleep[i] = 0;
#endif
        i++
    :: else -> i = 0; break
    od;
#endif
    if
    :: map_gen == 0 -> goto submit
    :: else -> goto loop
    fi;

complete: /* on_done */
    polling = 0;
    d_step {
        eventfd = 0;
        if
        :: cancel -> assert(running[0] == 0 && running[1] == 0 && running[2] == 0)
        :: else ->
            assert(done == ALL_GRAINS && !ANY_WORD && !ANY_READY);
            assert((stored | failed) == MASK(0, GRAINS * ITEMS));
#ifdef POISON
            assert(failed & (1 << POISON));
#endif
#ifdef ONCE
            assert((failed & ~named) == 0 && (ran | failed) == ALL_GRAINS)
#else
            assert((failed & ~blamed) == 0)
#endif
        fi;
        open_map = 0
    };
    map_gen = 0;
    map++;
    if
    :: map <= MAPS -> goto submit
    :: else -> finished = 1
    fi
}

init {
    atomic {
        run Worker(0);
        run Worker(1);
#if LANES > 2
        run Worker(2);
#endif
        run Killer();
        run Master()
    }
}

#ifdef LIVENESS
ltl ends { <> finished }
#endif
