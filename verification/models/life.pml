/* The lifetime of the file: opening, creating, registering, reinitialising a stale file, closing, removing; a death after every step.

   What stands for what (crates/system-semaphore/src/backend/robust/):
     open        lifetime/{open,file,create}.rs: open_with_retries, open_file, create, register, reinitialise; with FAILURES it may fail for lack of memory
     take_slot   lifetime/slots.rs: take_slot
     recover     algorithm/recovery.rs: recover, recover_slot, recover_locked_slot, free; giving back is one step
     User        opens, takes and gives back, looks for the dead, closes (lifetime/close.rs: try_close, unlink_if_unused; lifetime/slots.rs: find_other_user)
     Remover     lifetime/remove.rs: remove; it, too, dies after every step
   One system call is one step. A file is made without a name and linked when it is complete; `path` is what the name
   names. Locks belong to a process, and its death lets go of all in one step.

   What must hold: all who use the semaphore are in the file that the name names, but for those of a removed one; no file is
   unlinked while somebody uses it; a slot is nobody else's, and whoever has it can be found when it dies; nothing that
   is held is forgotten; who finds nobody alive starts with the whole of its initial value; when all have gone, and one
   more has come and gone, there is no file.

   Left out: how an operation or a reset survives a death (operation.pml, reset.pml: here each is one step); the user's
   directory; forks; descriptors that others close; a full table of slots; a name that is deleted by other means (between
   the look at the name and the unlinking it cannot be seen).

   Bounds: the settings below; models.toml has the values that are run. */

#ifndef USERS
#define USERS 2
#endif
#ifndef FILES
#define FILES 3      /* how many are made at most; who would make one more ends */
#endif
#ifndef OPENS
#define OPENS 1      /* by each user */
#endif
#ifndef TURNS
#define TURNS 1      /* of each open: takes (and gives back) or looks for the dead */
#endif
#ifndef PERSISTENT
#define PERSISTENT 0
#endif
#ifndef REMOVALS
#define REMOVALS 0
#endif
#ifndef STRANGER
#define STRANGER 255 /* the user that may not unlink the file (sticky directory) */
#endif
#ifndef MODES
#define MODES 0      /* 1: opens are of any mode, and not only Open */
#endif
#ifndef INIT
#define INIT 1
#endif

#define SLOTS USERS
#define NONE 255

#define OPEN 0
#define OPEN_EXISTING 1
#define CREATE 2
#define CREATE_NEW 3

byte path = NONE;

/* of each file; the registry lock says who has it, 0 is nobody */
bool made[FILES], removed[FILES], persistent[FILES];
byte registry[FILES], count[FILES], epoch[FILES];

/* of each slot of each file; the locks likewise */
#define AT(i) (f * SLOTS + (i))
byte lock[FILES * SLOTS], held[FILES * SLOTS], held_in[FILES * SLOTS];
bool used[FILES * SLOTS];

/* what is true: which file each one uses, from the end of its open to the beginning of its close */
byte uses[USERS + 1] = NONE;
byte running;
/* nobody has looked whether it was the last one since somebody died, gave up to close, or might not unlink */
bool is_excused;

#if USERS == 2
#define IS_LOCKED(from, to) ((from <= 0 && 0 < to && IS_OTHERS(0)) || (from <= 1 && 1 < to && IS_OTHERS(1)))
#define IS_IN_USE(file) (uses[0] == file || uses[1] == file || uses[2] == file)
#define NOBODY_IS_ELSEWHERE (!IS_ELSEWHERE(0) && !IS_ELSEWHERE(1))
#else
#define IS_LOCKED(from, to) ((from <= 0 && 0 < to && IS_OTHERS(0)) || (from <= 1 && 1 < to && IS_OTHERS(1)) || (from <= 2 && 2 < to && IS_OTHERS(2)))
#define IS_IN_USE(file) (uses[0] == file || uses[1] == file || uses[2] == file || uses[3] == file)
#define NOBODY_IS_ELSEWHERE (!IS_ELSEWHERE(0) && !IS_ELSEWHERE(1) && !IS_ELSEWHERE(2))
#endif
#define IS_OTHERS(i) (lock[AT(i)] != 0 && lock[AT(i)] != me + 1)
/* somebody uses another file, and was not told that it is gone */
#define IS_ELSEWHERE(i) (uses[i] != NONE && uses[i] != f && !removed[uses[i]])

#define DIES is_mortal -> goto died

inline unlink() {
  d_step {
    assert(path == NONE || removed[path] || !IS_IN_USE(path));
    path = NONE
  }
}

inline unlock_registry() {
  if
  :: DIES
  :: registry[f] = 0
  fi
}

inline recover() {
  x = 0;
  do
  :: x < SLOTS && (!used[AT(x)] || x == own || lock[AT(x)] != 0) -> x++
  :: x < SLOTS && used[AT(x)] && x != own && lock[AT(x)] == 0 ->
     if
     :: lock[AT(x)] != 0
     :: atomic { lock[AT(x)] == 0 -> lock[AT(x)] = me + 1 }
     fi;
     /* looked at again, now that the lock is there */
     if
     :: !used[AT(x)] || lock[AT(x)] != me + 1
     :: used[AT(x)] && lock[AT(x)] == me + 1 ->
        if
        :: DIES
        :: d_step { true ->
              if
              :: held_in[AT(x)] == epoch[f] && !removed[f] -> count[f] = count[f] + held[AT(x)]
              :: else
              fi;
              held[AT(x)] = 0 }
        fi;
        if
        :: DIES
#ifdef UNLOCKED_FIRST
        :: lock[AT(x)] = 0
#else
        :: used[AT(x)] = false
#endif
        fi
     fi;
     if
     :: DIES
#ifdef UNLOCKED_FIRST
     :: used[AT(x)] = false
#else
     :: d_step { lock[AT(x)] == me + 1 -> lock[AT(x)] = 0 }
     :: lock[AT(x)] != me + 1
#endif
     fi;
     x++
  :: x == SLOTS -> break
  od;
  x = 0
}

/* two system calls, unless somebody else has the slot by now; nobody is excused who looks */
inline find_other_user() {
  is_excused = (path == f -> me == STRANGER : is_excused);
  if
#ifdef BY_BITMAP
  :: d_step { true -> is_here = used[AT(0)] || used[AT(1)] || used[AT(SLOTS - 1)] }
#else
  :: d_step { own == NONE || used[AT(own)] -> is_here = IS_LOCKED(0, SLOTS) }
  :: d_step { own != NONE && !used[AT(own)] -> is_here = IS_LOCKED(0, own) };
     d_step { true -> is_here = is_here || IS_LOCKED(own + 1, SLOTS) }
#endif
  fi
}

inline unlink_if_unused() {
  find_other_user();
  if
#ifdef UNNAMED_UNLINKED
  :: !persistent[f] && !is_here ->
#else
  :: !persistent[f] && !is_here && path == f && me != STRANGER ->
#endif
     if
     :: DIES
     :: unlink()
     fi
  :: else
  fi
}

proctype User(byte me; bool is_mortal) {
  byte f = NONE, own = NONE, x, mode, opens = OPENS, turns, taken_in;
  bool is_stale, is_here, holds;

opening:
  if
  :: opens == 0 -> goto died
  :: opens > 0 ->
     opens--;
     if
     :: MODES == 0 || !is_mortal -> mode = OPEN
     :: MODES == 1 && is_mortal -> mode = OPEN
     :: MODES == 1 && is_mortal -> mode = OPEN_EXISTING
     :: MODES == 1 && is_mortal -> mode = CREATE
     :: MODES == 1 && is_mortal -> mode = CREATE_NEW
     fi
  fi;

look:
  if
  :: d_step { path != NONE -> f = path }
  :: path == NONE && mode == OPEN_EXISTING -> goto closed
  :: path == NONE && mode != OPEN_EXISTING -> goto make
  fi;

  /* join */
  if
  :: DIES
  :: atomic { registry[f] == 0 -> registry[f] = me + 1 }
  fi;
#ifndef UNNAMED_JOINED
  if
  :: path == f
  :: path != f ->
     unlock_registry();
     f = NONE; goto look
  fi;
#endif
  if
  :: removed[f] && me != STRANGER ->
     if
     :: DIES
     :: unlink()
     fi;
     unlock_registry();
     f = NONE; goto look
#ifdef REVIVED
  :: removed[f] && me == STRANGER -> is_stale = true
#else
  :: d_step { removed[f] && me == STRANGER && (mode == OPEN_EXISTING || !IS_LOCKED(0, SLOTS)) -> is_stale = true }
  :: d_step { removed[f] && me == STRANGER && mode != OPEN_EXISTING && IS_LOCKED(0, SLOTS) -> is_excused = true };
     /* its users were told that it is gone: an error */
     unlock_registry();
     goto closed
#endif
  :: d_step { !removed[f] -> is_stale = !persistent[f] && !IS_LOCKED(0, SLOTS) }
  fi;
  if
  :: mode == OPEN_EXISTING && is_stale ->
     if
     :: DIES
     :: me != STRANGER -> unlink()
     :: me == STRANGER
     fi;
     unlock_registry();
     goto closed
  :: mode == CREATE_NEW && !is_stale ->
     unlock_registry();
     goto closed
  :: is_stale && mode != OPEN_EXISTING ->
     x = 0;
     do
     :: x < SLOTS ->
        if
        :: DIES
        :: d_step { true -> used[AT(x)] = false; x++ }
        fi
     :: x == SLOTS -> x = 0; break
     od;
     if
     :: DIES
     :: d_step { true -> persistent[f] = false; removed[f] = false; count[f] = INIT; epoch[f]++ } /* the reset */
     fi
  :: !is_stale && mode != CREATE_NEW -> recover()
  fi;
#ifdef FAILURES
  if
  :: true
  :: is_mortal && !is_stale ->
#ifndef FAILED_QUIETLY
     unlink_if_unused();
#endif
     unlock_registry();
     goto closed
  fi;
#endif
  do
  :: x < SLOTS && (used[AT(x)] || lock[AT(x)] != 0) -> x++
  :: atomic { x < SLOTS && !used[AT(x)] && lock[AT(x)] == 0 -> lock[AT(x)] = me + 1 }; own = x; break
  od; /* there is one for each user; were there none, this would be a deadlock */
  x = 0;
  if
  :: DIES
  :: d_step { true ->
        assert(held[AT(own)] == 0 || held_in[AT(own)] != epoch[f]); /* or it would be forgotten */
        held[AT(own)] = 0; held_in[AT(own)] = epoch[f] }
  fi;
  if
  :: DIES
  :: used[AT(own)] = true
  fi;
  if
  :: mode != CREATE || is_stale
  :: mode == CREATE && !is_stale ->
     if
     :: DIES
     :: d_step { true -> count[f] = INIT; epoch[f]++ }
     fi
  fi;
  if
  :: DIES
  :: d_step { PERSISTENT == 1 -> persistent[f] = true }
  :: PERSISTENT == 0
  fi;
  is_stale = false;
  if
  :: DIES
  :: d_step { true -> uses[me] = f; assert(path == f && !removed[f] && NOBODY_IS_ELSEWHERE) }
  fi;
  unlock_registry();
  goto opened;

make:
  /* nobody can see it before it has a name */
  if
  :: made[0] && made[1] && made[FILES - 1] -> goto died
  :: d_step { !made[0] || !made[1] || !made[FILES - 1] ->
        if
        :: !made[0] -> f = 0
        :: made[0] && !made[1] -> f = 1
        :: else -> f = FILES - 1
        fi;
        made[f] = true; persistent[f] = PERSISTENT; count[f] = INIT;
#ifndef LINKED_FIRST
        lock[AT(0)] = me + 1;
#endif
        own = 0; used[AT(0)] = true }
  fi;
  if
  :: DIES
  :: d_step { path == NONE -> path = f; uses[me] = f; assert(NOBODY_IS_ELSEWHERE) }
  :: d_step { path != NONE -> made[f] = false; lock[AT(0)] = 0; used[AT(0)] = false; own = NONE; f = NONE }; goto look
  fi;

#ifdef LINKED_FIRST
  if
  :: DIES
  :: lock[AT(0)] = me + 1
  fi;
#endif

opened:
  assert(is_mortal || count[f] == INIT);
  turns = (is_mortal -> TURNS : 0);
  do
  :: DIES
  :: turns > 0 -> turns--; recover()
  :: d_step { turns > 0 && !holds && !removed[f] && count[f] > 0 ->
        turns--;
        assert(used[AT(own)] && lock[AT(own)] == me + 1); /* or nobody would look there when it is dead */
        held[AT(own)] = (held_in[AT(own)] == epoch[f] -> held[AT(own)] : 0) + 1;
        held_in[AT(own)] = epoch[f]; taken_in = epoch[f];
        count[f]--; holds = true }
  :: d_step { holds ->
        if
        :: taken_in == epoch[f] && !removed[f] -> held[AT(own)]--; count[f]++
        :: else
        fi;
        holds = false; taken_in = 0 }
  :: !holds -> break
  od;
  turns = 0;

  /* close; who holds something does not */
  uses[me] = NONE;
#ifdef LOOKED_BEFORE_LEAVING
  find_other_user();
#endif
  if
  :: DIES
  :: used[AT(own)] = false
  fi;
  if
  :: DIES
  :: lock[AT(own)] = 0
  fi;
#ifndef LOOKED_BEFORE_LEAVING
  find_other_user();
#endif
  if
  :: is_here -> goto closed
  :: else
  fi;
  if
  :: DIES
  :: atomic { registry[f] == 0 -> registry[f] = me + 1 }
  :: d_step { registry[f] != 0 && is_mortal -> is_excused = true }; goto closed /* it took too long */
  fi;
  unlink_if_unused();
  unlock_registry();

closed:
  atomic { f = NONE; own = NONE; is_here = false; is_stale = false; mode = OPEN };
  goto opening;

died:
  atomic {
    is_excused = is_excused || opens > 0 || f != NONE;
    uses[me] = NONE;
    x = 0;
    do
    :: x < FILES * SLOTS ->
       if
       :: lock[x] == me + 1 -> lock[x] = 0
       :: else
       fi;
       x++
    :: else -> break
    od;
    if
    :: f != NONE && registry[f] == me + 1 -> registry[f] = 0
    :: else
    fi;
    x = 0; f = NONE; own = NONE; is_here = false; is_stale = false; holds = false; mode = OPEN;
    turns = 0; taken_in = 0; opens = 0;
    running--
  }
}

proctype Remover() {
  byte f = NONE;
look:
  if
  :: path == NONE -> goto done
  :: d_step { path != NONE -> f = path }
  fi;
  atomic { registry[f] == 0 -> registry[f] = 99 };
  if
  :: path != f -> registry[f] = 0; goto look
  :: path == f
  fi;
  if
  :: goto dead
  :: d_step { true -> removed[f] = true; count[f] = 0 }
  fi;
  if
  :: is_excused = true -> goto dead
  :: unlink()
  fi;
dead:
  registry[f] = 0;
done:
  running--
}

init {
  atomic {
    running = USERS + REMOVALS;
    run User(0, true); run User(1, true);
#if USERS > 2
    run User(2, true);
#endif
    if
    :: REMOVALS > 0 -> run Remover()
    :: else
    fi
  };
  running == 0;
  assert(path == NONE || PERSISTENT == 1 || is_excused);
  /* one more, who finds nobody alive */
  running = 1;
  run User(USERS, false);
  running == 0;
  assert(path == NONE || PERSISTENT == 1)
}
