/* Resets and removals among operations and recoveries, by processes of which any may die at any step.

   What stands for what (crates/system-semaphore/src/backend/robust/):
     operate           algorithm/operation.rs: SlotWriter::operate, resolve_foreign_tag, help, attempt
     complete, epoch   algorithm/epoch.rs: complete_reset, resolve_epoch
     adopt             algorithm/epoch.rs: adopt_epoch
     Worker            takes and gives back; a permit knows the epoch in which it was taken
     Recoverer         algorithm/recovery.rs: recover_locked_slot, resolve_pending, free. It dies, too; a successor starts over
     Resetter          algorithm/reset.rs: reset, under the registry lock, in any number, one after the other
     Remover           lifetime/remove.rs: remove as far as the mark in the state, after which it dies or fails to unlink. A reset
                       after that is lifetime/open.rs: reinitialise by somebody who may not unlink the file either
                       (which renews only what nobody uses; here it may come at any time, which is more)
   The epoch counts modulo EPOCHM (in the engine 2^32), and a tag has room for it modulo TAGM (2^20).

   What must hold: what is given back was taken in this epoch, and is held; nobody holds in an epoch that is not yet in the
   state; in the end all permits of the last reset are free.

   Left out: weak memory (see verification/interleavings); helping with numbers that wrap (operation.pml); creating;
   the maximum; waking, which follows a reset as it follows a release (wake.pml).

   Bounds: the settings below; models.toml has the values that are run. */

#ifndef INIT
#define INIT 1
#endif
#ifndef VALUE
#define VALUE 1     /* what a reset sets */
#endif
#ifndef OPS0
#define OPS0 2
#endif
#ifndef OPS1
#define OPS1 1
#endif
#ifndef RESETS
#define RESETS 1
#endif
#ifndef REMOVALS
#define REMOVALS 0
#endif
#ifndef DEATHS
#define DEATHS 0    /* of recoverers; all others die without limit */
#endif
#ifndef EPOCHM
#define EPOCHM 8
#endif
#ifndef TAGM
#define TAGM 4
#endif

#define SLOTS 2
#define NOBODY 255  /* INITIAL */
#define RESET 254
#define REMOVED 253

#define NEXT(e) (((e) + 1) % EPOCHM)
#define TAG(e) ((e) % TAGM)

/* the state, and the header's epoch */
byte count = INIT, tag = NOBODY, seq = 0, header;
#define IS_STATE (count == c && tag == t && seq == s)

byte c_seq[SLOTS], c_held[SLOTS], p_seq[SLOTS], p_held[SLOTS], helped[SLOTS], slot_epoch[SLOTS];
bool used[SLOTS], locked[SLOTS], registry;

/* what is true, whatever the slots say */
byte resets, holds[SLOTS], holds_in[SLOTS], value = INIT, running, deaths = DEATHS;

#define HAPPENED 1
#define TOO_FEW 2
#define VOID 3
#define GONE 4
#define AGAIN 9

#ifdef NEVER_VOID
#define IS_VOID(taken_in) false
#else
#define IS_VOID(taken_in) (slot_epoch[me] != taken_in)
#endif
#define DIES atomic { !is_recoverer || deaths > 0 -> deaths = deaths - is_recoverer; goto died }

/* t and s are a state that was loaded */
inline complete() {
  if
  :: t != RESET /* unreached in Worker: it has looked before */
  :: t == RESET ->
     x = header;
     if
     :: DIES
     :: d_step { TAG(NEXT(x)) == TAG(s) && header == x -> header = NEXT(x); x = 0 }
     :: d_step { !(TAG(NEXT(x)) == TAG(s) && header == x) -> x = 0 }
     fi
  fi
}

inline adopt() {
  e = header;
  if
  :: slot_epoch[me] == e
  :: slot_epoch[me] != e ->
#ifdef EPOCH_FIRST
     if
     :: DIES
     :: slot_epoch[me] = e
     fi;
     if
     :: DIES
     :: c_held[me] = 0
     fi
#else
     if
     :: DIES
     :: c_held[me] = 0
     fi;
     if
     :: DIES
     :: slot_epoch[me] = e
     fi
#endif
  fi;
  e = 0
}

inline epoch() {
  d_step { t = tag; s = seq };
  complete();
  d_step { e = (t == REMOVED -> NEXT(header) : header); t = 0; s = 0 }
}

/* Gives only what was taken in epoch `taken_in`. */
inline operate(take, give, more, taken_in) {
  outcome = 0;
  do
  :: outcome == 0 ->
#ifdef EPOCH_BEFORE_STATE
     adopt();
#endif
     d_step { c = count; t = tag; s = seq };
     if
     :: t == me || t == NOBODY
     :: t == REMOVED -> outcome = GONE
     :: t == RESET ->
#ifdef NOT_COMPLETED
        skip
#else
        complete()
#endif
     :: t < SLOTS && t != me ->
        h = helped[t];
        x = c_seq[t];
        if
        :: x == s
        :: x != s ->
           x = p_seq[t];
           /* two steps in one; operation.pml has them apart */
           if
           :: x != s || x == h
           :: d_step { x == s && x != h && IS_STATE && helped[t] == h -> helped[t] = x }
           :: d_step { x == s && x != h && !(IS_STATE && helped[t] == h) -> outcome = AGAIN }
           fi
        fi;
        d_step { h = 0; x = 0 }
     fi;
#ifndef EPOCH_BEFORE_STATE
     if
     :: outcome == 0 && t != me -> adopt()
     :: outcome != 0 || t == me
     fi;
#endif
     if
     :: outcome != 0
     :: outcome == 0 ->
        if
        :: d_step { give > 0 && IS_VOID(taken_in) -> outcome = VOID }
        :: d_step { take > c -> outcome = TOO_FEW } /* unreached in Recoverer: it takes nothing */
        :: d_step { take <= c && (give == 0 || !IS_VOID(taken_in)) ->
              e = slot_epoch[me]; p_seq[me] = c_seq[me] + 1; p_held[me] = c_held[me] + more };
           if
           :: DIES
           :: d_step { IS_STATE ->
                 assert(e == header);
                 assert(give == 0 || (holds_in[me] == resets && holds[me] >= give));
                 count = c - take + give; tag = me; seq = p_seq[me];
                 holds[me] = (holds_in[me] == resets -> holds[me] : 0) + more; holds_in[me] = resets;
                 outcome = HAPPENED }
           :: d_step { !IS_STATE -> e = 0 }
           fi
        fi
     fi;
     d_step { c = 0; t = 0; s = 0 }
  :: outcome == AGAIN -> outcome = 0
  :: outcome == HAPPENED ->
     if
     :: DIES
     :: d_step { c_seq[me] = p_seq[me]; c_held[me] = p_held[me] }
     fi;
     break
  :: outcome > HAPPENED && outcome != AGAIN -> break
  od
}

proctype Worker(byte me, ops) {
  byte c, t, s, h, x, e, outcome, taken_in;
  bool is_recoverer, holds_one;
  do
  :: ops > 0 ->
     ops--;
     if
     :: DIES
     :: !holds_one ->
        operate(1, 0, 1, 0);
        atomic { holds_one = (outcome == HAPPENED); taken_in = e; e = 0; outcome = 0 }
     :: holds_one ->
        operate(0, 1, -1, taken_in);
        atomic { holds_one = false; taken_in = 0; e = 0; outcome = 0 }
     fi
  :: ops == 0 -> break
  od;
  /* to close is a death that owes less: it leaves a slot that holds nothing in this epoch */
died:
  atomic {
    locked[me] = false; running--;
    c = 0; t = 0; s = 0; h = 0; x = 0; e = 0; outcome = 0; taken_in = 0; holds_one = false; ops = 0
  }
}

#define IS_DEAD(i) (used[i] && !locked[i])

proctype Recoverer() {
  byte me = NOBODY, c, t, s, h, x, e, held, taken_in, outcome;
  bool is_recoverer = true;
again:
end:
  if
  :: atomic { IS_DEAD(0) -> me = 0; locked[0] = true }
  :: atomic { IS_DEAD(1) -> me = 1; locked[1] = true }
  fi;

  /* resolve_pending */
  d_step { t = tag; s = seq };
  d_step {
    if
    :: p_seq[me] != c_seq[me] && ((t == me && s == p_seq[me]) || helped[me] == p_seq[me]) ->
       c_seq[me] = p_seq[me]; c_held[me] = p_held[me]
    :: else
    fi
  };
  if
  :: DIES
#ifdef EPOCH_OF_THE_SLOT
  :: d_step { true -> t = 0; s = 0; e = slot_epoch[me] }
#else
  :: epoch()
#endif
  fi;
  held = (slot_epoch[me] == e -> c_held[me] : 0);
  if
  :: held > 0 -> taken_in = e; operate(0, held, -held, taken_in)
  :: held == 0
  fi;
  if
  :: DIES
  :: used[me] = false
  fi;
died:
  atomic {
    locked[me] = false;
    me = NOBODY; c = 0; t = 0; s = 0; h = 0; x = 0; e = 0; held = 0; taken_in = 0; outcome = 0
  };
  goto again
}

/* Has the registry lock to its end. */
proctype Resetter() {
  byte me, c, t, s, x, e;
  bool is_recoverer;
  atomic { !registry -> registry = true };
#ifdef EPOCH_OF_REMOVED
  epoch();
#else
  d_step { t = tag; s = seq };
  complete();
  e = header;
#endif
  d_step { e = NEXT(e); t = 0; s = 0 };
  do
  :: d_step { true -> c = count; t = tag; s = seq };
     if
     :: DIES
     :: d_step { IS_STATE ->
#ifdef TAG_ALWAYS_THE_SAME
           count = VALUE; tag = RESET; seq = 0;
#else
           count = VALUE; tag = RESET; seq = TAG(e);
#endif
           resets++; value = VALUE }; break
     :: !IS_STATE
     fi
  od;
  if
  :: DIES
  :: d_step { true -> c = 0; t = tag; s = seq }
  fi;
  complete();
died:
  atomic { registry = false; running--; c = 0; t = 0; s = 0; x = 0; e = 0 }
}

proctype Remover() {
  atomic { !registry -> registry = true };
  if
  :: true -> d_step { count = 0; tag = REMOVED; seq = 0; resets++; value = 0 } /* the swap, which is tried until it succeeds */
  :: true
  fi;
  atomic { registry = false; running-- }
}

init {
  atomic {
    if
    :: OPS0 > 0 -> used[0] = true; locked[0] = true; running++; run Worker(0, OPS0)
    :: else
    fi;
    if
    :: OPS1 > 0 -> used[1] = true; locked[1] = true; running++; run Worker(1, OPS1)
    :: else
    fi;
    running = running + RESETS + REMOVALS;
    run Recoverer();
    run Resetter();
    if
    :: RESETS > 1 -> run Resetter()
    :: else
    fi;
    if
    :: REMOVALS > 0 -> run Remover()
    :: else
    fi
  };
  running == 0 && !used[0] && !used[1];
  assert(count == value)
}
