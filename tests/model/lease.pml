/*
 * A model of what makes a lost or late host cost nothing: leases, claims, copies, results that come late
 * (core/team_lease.c, core/team_end.c, core/claims.c, net/remote_result.c). tests/model/run searches it whole with
 * Spin.
 *
 * In it: one call of ITEMS items; a master; STREAMS streams, each one agent's whole life (a host that comes back is
 * another stream), of which DEATHS die between any two steps of theirs; this machine, which runs copies into scratch,
 * and what is left when all streams are dead. A result comes in two slices, so that a stream can die, or be overtaken,
 * in the middle of an item. COPIES copies are made of leases that are late, at any time. ENDS_EARLY: the call is
 * cancelled, at any time, and its arrays are gone, while agents still send.
 *
 * Checked: an item has one writer at a time; none is settled twice, and what is settled is never written again; when
 * the call is over, all items are settled, and from then on nothing is written. A lease that is forgotten, or a claim
 * that stays, ends in a stuck state.
 *
 * Not in it: several leases a stream, credit, sizes, `once`, failures: tests/sim has those.
 *
 * NEG_x plants one bug, and the runner fails unless Spin finds it:
 *   NEG_CLAIMED   a stream writes what another one has claimed
 *   NEG_SETTLED   a stream writes what is settled
 *   NEG_REVOKED   a lease that was revoked still writes
 *   NEG_RELEASE   the claims of a stream that dies stay
 *   NEG_RETURN    what a dead stream has left undone is not given again
 *   NEG_LACKS     what was thrown away because another stream was writing it is not looked for when that one is gone
 *   NEG_LAND      a copy here lands without a claim
 *   NEG_SLICE     an item is settled with its first slice
 */
#ifndef ITEMS
#define ITEMS 2
#endif
#ifndef STREAMS
#define STREAMS 2
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef COPIES
#define COPIES 1
#endif

#define BIT(i) (1 << (i))
#define ALL (BIT(ITEMS) - 1)
#define OPEN 0
#define CLAIMED(s) (1 + (s))
#define HERE STREAMS /* as a source */
#define SETTLED 9

mtype = { RUN, CANCEL, FIRST, LAST, DONE };
chan to[STREAMS] = [2] of { mtype, byte };
chan from[STREAMS] = [2] of { mtype, byte };

byte state[ITEMS];
byte open = ALL;           /* nobody has them */
byte lease[STREAMS];       /* items; 0: none */
bit revoked[STREAMS];      /* its DONE is owed */
bit in_place[STREAMS];     /* the item that is coming */
bit dead[STREAMS];
byte scratch;              /* items of the copy that runs here; 0: none does */
byte deaths = DEATHS, copies = COPIES;

/* Ghosts. */
byte writer[ITEMS];        /* 1 + source; 0: nobody */
bit final[ITEMS];
bit gone;                  /* the arrays */

proctype Agent(byte me) {
    byte left, i;
    {
end_idle:
        do
        :: to[me]?RUN, left ->
            do
            :: left == 0 -> break
            :: to[me]?CANCEL, _ -> left = 0
            :: left != 0 ->
                if
                :: left & 1 -> i = 0
#if ITEMS > 1
                :: left & 2 -> i = 1
#endif
#if ITEMS > 2
                :: left & 4 -> i = 2
#endif
                fi;
                left = left & ~BIT(i);
                from[me]!FIRST, i;
                from[me]!LAST, i
            od;
            from[me]!DONE, 0
        :: to[me]?CANCEL, _ /* of a lease that is done */
        od
    } unless { dead[me] }
}

/* Somebody else has the same items under way. */
#define SAME(s, t) ((s) != (t) && !dead[t] && lease[t] == mask && !revoked[t])
#if STREAMS > 2
#define COVERED(s) (SAME(s, 0) || SAME(s, 1) || SAME(s, 2) || ((s) != HERE && scratch == mask))
#define ALL_DEAD (dead[0] && dead[1] && dead[2])
#define NONE_LEFT ((lease[0] == 0 || revoked[0]) && (lease[1] == 0 || revoked[1]) && (lease[2] == 0 || revoked[2]))
#else
#define COVERED(s) (SAME(s, 0) || SAME(s, 1) || ((s) != HERE && scratch == mask))
#define ALL_DEAD (dead[0] && dead[1])
#define NONE_LEFT ((lease[0] == 0 || revoked[0]) && (lease[1] == 0 || revoked[1]))
#endif

inline release(s) {
    for (i : 0 .. ITEMS - 1) {
        if
        :: state[i] == CLAIMED(s) -> state[i] = OPEN; writer[i] = 0
        :: else
        fi
    }
}

/* What is open of the items `mask`, which a source has had, is nobody's now. */
inline give_again(s) {
    if
    :: COVERED(s)
    :: else ->
        for (i : 0 .. ITEMS - 1) {
            if
            :: (mask & BIT(i)) && state[i] == OPEN -> open = open | BIT(i)
            :: else
            fi
        }
    fi
}

inline settle(i_, s) {
    assert(!final[i_] && (writer[i_] == 1 + (s)));
    writer[i_] = 0;
    final[i_] = 1;
    state[i_] = SETTLED
}

/* All of `mask` is settled: who else has it can stop. */
inline revoke_others(s) {
    all = 1;
    for (i : 0 .. ITEMS - 1) {
        if
        :: (mask & BIT(i)) && state[i] != SETTLED -> all = 0
        :: else
        fi
    }
    for (t : 0 .. STREAMS - 1) {
        if
        :: all && SAME(s, t) ->
            revoked[t] = 1;
            to[t]!CANCEL, 0;
            release(t)
        :: else
        fi
    }
}

#if defined(NEG_CLAIMED)
#define MAY_WRITE(i) (state[i] != SETTLED)
#elif defined(NEG_SETTLED)
#define MAY_WRITE(i) (state[i] == OPEN || state[i] == SETTLED)
#else
#define MAY_WRITE(i) (state[i] == OPEN)
#endif
#ifdef NEG_REVOKED
#define IS_REVOKED(s) false
#else
#define IS_REVOKED(s) revoked[s]
#endif

inline on_first(s, item) {
    in_place[s] = 0;
    if
    :: !IS_REVOKED(s) && MAY_WRITE(item) ->
        assert(writer[item] == 0 && !final[item] && !gone);
        in_place[s] = 1;
        state[item] = CLAIMED(s);
        writer[item] = 1 + s;
#ifdef NEG_SLICE
        settle(item, s)
#endif
    :: else
    fi
}

inline on_last(s, item) {
    if
    :: in_place[s] && !IS_REVOKED(s) ->
        assert(!gone);
        assert(!final[item] && state[item] == CLAIMED(s));
        settle(item, s)
    :: else
    fi;
    in_place[s] = 0
}

inline on_done(s) {
    mask = lease[s];
    lease[s] = 0;
    if
    :: revoked[s] -> revoked[s] = 0
    :: else ->
        revoke_others(s);
#ifndef NEG_LACKS
        give_again(s)
#endif
    fi
}

inline die(s) {
    mask = lease[s];
    dead[s] = 1;
    deaths--;
    lease[s] = 0;
    in_place[s] = 0;
#ifdef NEG_RELEASE
    for (i : 0 .. ITEMS - 1) { if :: state[i] == CLAIMED(s) -> writer[i] = 0 :: else fi }
#else
    release(s);
#endif
    if
    :: mask && !revoked[s] ->
#ifndef NEG_RETURN
        give_again(s)
#else
        skip
#endif
    :: else
    fi;
    revoked[s] = 0
}

inline land() {
    mask = scratch;
    scratch = 0;
    for (i : 0 .. ITEMS - 1) {
        if
#ifdef NEG_LAND
        :: (mask & BIT(i)) && state[i] != SETTLED ->
#else
        :: (mask & BIT(i)) && state[i] == OPEN ->
#endif
            assert(writer[i] == 0);
            writer[i] = 1 + HERE;
            settle(i, HERE)
        :: else
        fi
    }
    revoke_others(HERE);
    give_again(HERE)
}

inline run_here() {
    for (i : 0 .. ITEMS - 1) {
        if
        :: open & BIT(i) ->
            assert(writer[i] == 0 && state[i] == OPEN);
            writer[i] = 1 + HERE;
            settle(i, HERE)
        :: else
        fi
    }
    open = 0
}

/* The same items for another stream that has none. */
inline copy_to(s) {
    for (t : 0 .. STREAMS - 1) {
        if
        :: t != s && lease[s] == 0 && !dead[t] && lease[t] && !revoked[t] ->
            mask = lease[t];
            if
            :: !COVERED(t) -> lease[s] = mask; copies--; to[s]!RUN, mask
            :: else
            fi
        :: else
        fi
    }
}

inline copy_here(s) {
    mask = lease[s];
    if
    :: !COVERED(s) -> scratch = mask; copies--
    :: else
    fi
}

#ifdef ENDS_EARLY
inline end_early(s) {
    if
    :: lease[s] && !revoked[s] -> revoked[s] = 1; release(s); to[s]!CANCEL, 0
    :: else
    fi
}
#endif

#define FORGET i = 0; t = 0; mask = 0; item = 0; all = 0

/* All that the master does for one event is one step: nobody looks at what it has in between. It gives all that is
 * open, or the lowest item of it. */
#define EVENTS(s)                                                                                                      \
    :: atomic { !dead[s] && nempty(from[s]) ->                                                                         \
        if                                                                                                             \
        :: from[s]?FIRST, item -> on_first(s, item)                                                                    \
        :: from[s]?LAST, item -> on_last(s, item)                                                                      \
        :: from[s]?DONE, item -> on_done(s)                                                                            \
        fi; FORGET }                                                                                                   \
    :: atomic { !dead[s] && deaths -> die(s); FORGET }                                                                 \
    :: atomic { !dead[s] && !lease[s] && open -> lease[s] = open; open = 0; to[s]!RUN, lease[s] }                      \
    :: atomic { !dead[s] && !lease[s] && (open & (open - 1)) ->                                                        \
        lease[s] = open & (256 - open); open = open & ~lease[s]; to[s]!RUN, lease[s] }                                 \
    :: atomic { !dead[s] && !lease[s] && !open && copies -> copy_to(s); FORGET }                                       \
    :: atomic { !dead[s] && lease[s] && !revoked[s] && !open && copies && !scratch -> copy_here(s); FORGET }

#define LATE(s)                                                                                                        \
    :: atomic { !dead[s] && nempty(from[s]) ->                                                                         \
        if                                                                                                             \
        :: from[s]?FIRST, item -> on_first(s, item)                                                                    \
        :: from[s]?LAST, item -> on_last(s, item)                                                                      \
        :: from[s]?DONE, item -> revoked[s] = 0                                                                        \
        fi; FORGET }

active proctype Master() {
    byte i, t, mask, item;
    bit all;
    run Agent(0);
    run Agent(1);
#if STREAMS > 2
    run Agent(2);
#endif
    do
    EVENTS(0)
    EVENTS(1)
#if STREAMS > 2
    EVENTS(2)
#endif
    :: atomic { scratch -> land(); FORGET }
    :: atomic { open && ALL_DEAD -> run_here(); FORGET }
#ifdef ENDS_EARLY
    :: atomic { true -> end_early(0); end_early(1); open = 0; scratch = 0; FORGET; goto ended }
#endif
    :: open == 0 && NONE_LEFT && scratch == 0 -> break
    od;
    atomic {
        for (i : 0 .. ITEMS - 1) {
            assert(state[i] == SETTLED && final[i])
        }
    }
ended:
    gone = 1;
end_late: /* what comes of leases that were revoked */
    do
    LATE(0)
    LATE(1)
#if STREAMS > 2
    LATE(2)
#endif
    od
}
