/* Operations, helping and recovery, by processes of which any may die at any step.

   What stands for what (crates/system-semaphore/src/backend/robust/):
     operate       algorithm/operation.rs: SlotWriter::operate, resolve_foreign_tag, help, has_unfinished_operation, attempt. algorithm/fast_path.rs is the same
                   steps on a tag of one's own, given up for the whole operation at the first failure
     Worker        lifetime/slots.rs: take_slot; some operations, forget among them; try_close as far as the slot goes
     Recoverer     algorithm/recovery.rs: recover_slot, recover_locked_slot, resolve_pending, free. It dies, too; a successor starts over
   A 64-bit load or store is one step; so is a compare-and-swap. A death lets go of the dead one's locks in one step,
   as the kernel does. Deaths are possible before every step that follows a write: what was only read leaves no
   trace. Slots are used again: their numbers go on.

   Numbers wrap: they count modulo SEQM (in the engine 2^32), and a tag has room for them modulo TAGM (2^20).

   What must hold: who is settled has in `committed` what it really holds; nobody alive is told that its own operation is
   under way; in the end, all that was taken is free again.

   Left out: weak memory (see verification/interleavings); WAITERS and waking (wake.pml); epochs (reset.pml); more than
   one thread in a slot (algorithm/slot_lock.rs lets in one at a time).

   Two limits of the claim, which models.toml has among what spin must find: the swap compares a tag, which comes around
   after 2^20 operations (-DSHORT_SWAP; else the swap compares the whole number here), and an operation's number comes
   around after 2^32, when `helped` may still be the one of then.

   Bounds: the settings below; models.toml has the values that are run. */

#ifndef SLOTS
#define SLOTS 3
#endif
#ifndef INIT
#define INIT 2      /* permits at first */
#endif
#ifndef MAX
#define MAX 9       /* the most that can be free */
#endif
#ifndef OPS0
#define OPS0 2      /* operations of each worker; 0: it is not there */
#endif
#ifndef OPS1
#define OPS1 2
#endif
#ifndef OPS2
#define OPS2 2
#endif
#ifndef NEWCOMER
#define NEWCOMER 0  /* operations of a worker that comes later and takes a slot */
#endif
#ifndef CREATE
#define CREATE 0    /* how many permits may be created */
#endif
#ifndef FORGET
#define FORGET 0    /* how many may be forgotten */
#endif
#ifndef RECOVERERS
#define RECOVERERS 1
#endif
#ifndef DEATHS
#define DEATHS 1    /* of recoverers; workers die without limit */
#endif
#ifndef SEQM
#define SEQM 64
#endif
#ifndef TAGM
#define TAGM 64
#endif

#define NOBODY 255  /* INITIAL as a tag's slot; no slot of one's own */
#define NEXT(n) (((n) + 1) % SEQM)
#define TAG(n) ((n) % TAGM)

/* the state; `seq` is the whole number, of which only TAG(seq) may be read */
byte count = INIT, tag = NOBODY, seq = 0;
#ifdef SHORT_SWAP
#define IS_STATE (count == c && tag == t && TAG(seq) == TAG(s))
#else
#define IS_STATE (count == c && tag == t && seq == s)
#endif

/* the slots: committed (number, held), pending (number, held then), helped */
byte c_seq[SLOTS], c_held[SLOTS], p_seq[SLOTS], p_held[SLOTS], helped[SLOTS];
bool used[SLOTS], locked[SLOTS], registry;

/* what is true, whatever the slots say */
byte holds[SLOTS], running, deaths = DEATHS, forgotten;
short created;  /* less what there was no room for */

#define IS_APPLIED(who) ((tag == who && TAG(seq) == TAG(p_seq[who])) || helped[who] == p_seq[who])
/* to create is refused where there is no room; to give back fills up, and the rest is gone */
#define IS_TOO_MUCH(give, more) (give > 0 && more == 0 && c + give > MAX)
#define DIES atomic { (is_worker || deaths > 0) -> deaths = deaths - (1 - is_worker); goto died }

/* Takes `take` and gives `give`; the slot then holds `more` more. `done` tells whether it happened. */
inline operate(take, give, more) {
  done = 2;
  do
  :: done == 2 ->
     d_step { h = 0; c = count; t = tag; s = seq };
     if
     :: t == me || t == NOBODY -> skip
     :: else ->
        h = helped[t];
        x = c_seq[t];
        if
#ifdef UNHELPED
        :: true -> skip
#else
        :: TAG(x) == TAG(s) -> skip
        :: else ->
           x = p_seq[t];
           if
           :: TAG(x) != TAG(s) || x == h -> skip
           :: else ->
#ifndef NO_SECOND_LOOK
              if
              :: IS_STATE
              :: d_step { !IS_STATE -> done = 3 }
              fi;
#endif
#ifdef HELPED_READ_LATE
              h = helped[t];
#endif
              if
              :: done == 3 -> skip
              :: d_step { done == 2 && helped[t] == h -> helped[t] = x }
              :: d_step { done == 2 && helped[t] != h -> done = 3 }
              fi
           fi
#endif
        fi
     fi;
     if
     :: d_step { done == 3 -> done = 2 }
     :: d_step { done == 2 && c < take -> done = 0 } /* unreached in Recoverer: it takes nothing */
     :: d_step { done == 2 && c >= take && IS_TOO_MUCH(give, more) -> done = 0 } /* unreached in Recoverer: it fills up */
     :: d_step { done == 2 && c >= take && !IS_TOO_MUCH(give, more) ->
           assert(p_seq[me] == c_seq[me] || !IS_APPLIED(me)); /* has_unfinished_operation */
           h = 0; x = 0;
           p_seq[me] = NEXT(c_seq[me]); p_held[me] = c_held[me] + more };
        if
        :: DIES
        :: d_step { IS_STATE ->
              count = (c - take + give <= MAX -> c - take + give : MAX);
              tag = me; seq = p_seq[me]; holds[me] = p_held[me];
              created = created + count - c + more;
              done = 1 }
        :: !IS_STATE
        fi
     fi
  :: done == 1 ->
     if
     :: DIES
     :: d_step { c_seq[me] = p_seq[me]; c_held[me] = p_held[me] }
     fi;
     break
  :: done == 0 -> break
  od;
  atomic { c = 0; t = 0; s = 0; h = 0; x = 0; done = 0 }
}

proctype Worker(byte me, ops) {
  byte c, t, s, h, x, done;
  bool is_worker = true, registers;
  if
  :: me != NOBODY -> goto begin
  :: me == NOBODY
  fi;

  atomic { !registry -> registry = true; registers = true };
  do
  :: atomic { x < SLOTS && !used[x] && !locked[x] -> locked[x] = true; me = x; x = 0 }; break
  :: d_step { x < SLOTS && (used[x] || locked[x]) -> x = (x + 1) % SLOTS } /* if there is none, it opens again */
  od;
  if
  :: DIES
#ifdef NUMBERS_START_AGAIN
  :: d_step { c_seq[me] = 0; p_seq[me] = 0; c_held[me] = 0 }
#else
  :: d_step { c_seq[me] = p_seq[me]; c_held[me] = 0 }
#endif
  fi;
  if
  :: DIES
  :: used[me] = true
  fi;
  if
  :: DIES
  :: d_step { registry = false; registers = false }
  fi;

begin:
  do
  :: ops > 0 ->
     ops--;
     if
     :: DIES
     :: c_held[me] == 0 -> operate(1, 0, 1)
     :: c_held[me] > 0 -> operate(0, 1, -1)
     :: created < CREATE -> operate(0, 1, 0)
     :: d_step { c_held[me] > 0 && forgotten < FORGET ->
           c_held[me]--; holds[me]--; forgotten++ }
     fi
  :: ops == 0 -> break
  od;
  if
  :: DIES
  :: c_held[me] == 0 -> used[me] = false /* who holds something does not close */
  fi;

died:
  atomic {
    if
    :: me != NOBODY -> locked[me] = false
    :: else /* unreached: it has had no slot to lose */
    fi;
    if
    :: registers -> registry = false
    :: else
    fi;
    running--
  }
}

#define IS_DEAD(i) (i < SLOTS && used[i] && !locked[i])

proctype Recoverer() {
  byte me = NOBODY, c, t, s, h, x, done;
  bool is_worker = false;
again:
end:
  if
  :: d_step { IS_DEAD(0) -> me = 0 }
  :: d_step { IS_DEAD(1) -> me = 1 }
  :: d_step { SLOTS > 2 && IS_DEAD(SLOTS - 1) -> me = SLOTS - 1 }
  fi;
  if
  :: atomic { !locked[me] -> locked[me] = true }
  :: d_step { locked[me] -> me = NOBODY }; goto again
  fi;
  if
  :: d_step { !used[me] -> locked[me] = false; me = NOBODY }; goto again
  :: used[me]
  fi;

  /* resolve_pending: the state before `helped`, since who overwrites a tag notes it first */
#ifdef HELPED_BEFORE_STATE
  h = helped[me];
#endif
  d_step { t = tag; s = seq };
#ifndef HELPED_BEFORE_STATE
  h = helped[me];
#endif
  if
  :: d_step { p_seq[me] == c_seq[me] -> h = 0; t = 0; s = 0 }
#ifdef ONLY_THE_TAG
  :: d_step { p_seq[me] != c_seq[me] && (t == me && TAG(s) == TAG(p_seq[me])) ->
#elif defined(ONLY_HELPED)
  :: d_step { p_seq[me] != c_seq[me] && h == p_seq[me] ->
#else
  :: d_step { p_seq[me] != c_seq[me] && ((t == me && TAG(s) == TAG(p_seq[me])) || h == p_seq[me]) ->
#endif
        c_seq[me] = p_seq[me]; c_held[me] = p_held[me]; h = 0; t = 0; s = 0 }
  :: d_step { else -> h = 0; t = 0; s = 0 }
  fi;
  assert(c_held[me] == holds[me]);
  if
  :: DIES
  :: c_held[me] > 0 ->
     x = c_held[me];
     operate(0, c_held[me], -c_held[me])
  :: c_held[me] == 0
  fi;
  assert(holds[me] == 0);
  if
  :: DIES
  :: used[me] = false
  fi;
  if
  :: DIES
  :: d_step { locked[me] = false; me = NOBODY }
  fi;
  goto again;
died:
  atomic { locked[me] = false; me = NOBODY; c = 0; t = 0; s = 0; h = 0; x = 0; done = 0 };
  goto again
}

inline start(i, number_of_operations) {
  if
  :: number_of_operations > 0 -> used[i] = true; locked[i] = true; running++; run Worker(i, number_of_operations)
  :: else
  fi
}

init {
  atomic {
    start(0, OPS0); start(1, OPS1);
#if SLOTS > 2
    start(2, OPS2);
#endif
    if
    :: NEWCOMER > 0 -> running++; run Worker(NOBODY, NEWCOMER)
    :: else
    fi;
    run Recoverer();
    if
    :: RECOVERERS > 1 -> run Recoverer()
    :: else
    fi
  };
  running == 0 && !used[0] && !used[1] && !used[SLOTS - 1];
  assert(count == INIT + created - forgotten)
}
