/* Waiting, waking and the baton: no wake-up is lost, whoever is killed between any two steps.

   What stands for what (crates/system-semaphore/src/backend/robust/):
     acquire       robust/mod.rs: RobustSemaphore::acquire; algorithm/wait.rs: Participant::wait, Waiter::pause, sleep, must_queue, and its Drop
     give          algorithm/wait.rs: Participant::release_and_wake; mod.rs: release, release_and_add. Also the end of algorithm/reset.rs: reset, which
                   gives and wakes in the same order
     wake          algorithm/wake.rs: wake. One futex call is one step, and it may wake any of those who sleep
     Recoverer     algorithm/recovery.rs: recover_locked_slot (who recovers looks at all slots, as the death watch does); algorithm/wake.rs:
                   announce_and_wake. It dies, too; a successor starts over
     Fate          kills (of a process with two threads both), lets the patience of a waiter end, ends fairness
   The state is (count, WAITERS). The tag is left out: with it a swap fails more often, and is then tried again.

   What must hold when nothing moves any more: nobody sleeps though there is enough for it, and who sleeps stands in the
   state, so that the next release wakes it. No sleep ends by itself here but that of who queues for fairness: the
   bound of a second is a second line of defence, and so is the look at the state that a waiter takes after it.

   Left out: weak memory (see verification/interleavings); how an operation survives a death (operation.pml: here it is
   one step); removal; stopped processes, whose wake-ups come up to a second late; time.

   Bounds: the settings below; models.toml has the values that are run. */

#ifndef INIT
#define INIT 1
#endif
#ifndef NEED0
#define NEED0 1       /* what each thread waits for and gives back; 0: it creates BATCH permits a turn */
#endif
#ifndef NEED1
#define NEED1 1
#endif
#ifndef NEED2
#define NEED2 1
#endif
#ifndef NEED3
#define NEED3 255     /* 255: there is no such thread */
#endif
#ifndef TURNS
#define TURNS 1
#endif
#ifndef CREATES
#define CREATES 2     /* the turns of who creates */
#endif
#ifndef KEEPS
#define KEEPS 0       /* 1: who has taken may keep it for ever */
#endif
#ifndef BATCH
#define BATCH 1
#endif
#ifndef PROCESS1
#define PROCESS1 1    /* 0: thread 1 is of the same process as thread 0 */
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef VICTIM
#define VICTIM 255    /* which process is killed; 255: any */
#endif
#ifndef ALARMS
#define ALARMS 0      /* how many waits end without a permit */
#endif
#ifndef FAIR
#define FAIR 0        /* how often a waiter may ask for fairness */
#endif
#ifndef DEATHS
#define DEATHS 0      /* of recoverers */
#endif

#define THREADS 4

byte count = INIT;
bool waiters, several, fair;

bool asleep[THREADS], alarm[THREADS];
byte need[THREADS];

/* by process: what it holds, and whether its lock is there */
byte holds[THREADS], alive[THREADS];
bool killed[THREADS], used[THREADS];
byte fairs = FAIR, deaths = DEATHS;

#define IS_STATE (count == c && waiters == w)
#define SLEEPS(i) (asleep[i] && need[i] == 1)
#define DIES (is_thread && killed[process]) || (!is_thread && deaths > 0) -> goto died

inline futex_wake_one() {
  if
  :: atomic { SLEEPS(0) -> asleep[0] = false }
  :: atomic { SLEEPS(1) -> asleep[1] = false }
  :: atomic { SLEEPS(2) -> asleep[2] = false }
  :: atomic { SLEEPS(3) -> asleep[3] = false }
  :: atomic { !SLEEPS(0) && !SLEEPS(1) && !SLEEPS(2) && !SLEEPS(3) }
  fi
}

inline futex_wake_several() {
  d_step {
    asleep[0] = asleep[0] && need[0] <= 1;
    asleep[1] = asleep[1] && need[1] <= 1;
    asleep[2] = asleep[2] && need[2] <= 1;
    asleep[3] = asleep[3] && need[3] <= 1
  }
}

/* so many of those who need one, and all who need several */
inline wake(number) {
  n = number;
  atomic {
    do
    :: n > 0 -> futex_wake_one(); n--
    :: n == 0 -> break
    od
  };
  if
  :: DIES
#ifndef ONE_FOR_ALL
  :: several -> futex_wake_several()
#endif
  :: !several
  fi
}

#define MUST_QUEUE (!slept && w && fair)

/* Takes what it needs, or gives up. */
inline acquire() {
  slept = false; woken = false; over = false;
  do
  :: d_step { true -> c = count; w = waiters };
     if
     :: DIES
     :: c >= need[me] && !MUST_QUEUE ->
        if
        :: DIES
#ifdef NOT_SET_AGAIN
        :: d_step { IS_STATE -> count = c - need[me]; holds[process] = holds[process] + need[me];
#else
        :: d_step { IS_STATE -> count = c - need[me]; holds[process] = holds[process] + need[me];
              waiters = w || woken || over;
#endif
              woken = (woken || over) && count > 0;
              got = true }; break
        :: !IS_STATE
        fi
     :: alarm[me] -> alarm[me] = false; break
     :: d_step { c < need[me] || MUST_QUEUE -> queues = MUST_QUEUE; slept = true; over = false };
        if
        :: woken && fairs > 0 -> fairs--; fair = true
        :: true
        fi;
#ifndef SEVERAL_LATE
        if
        :: need[me] > 1 -> several = true
        :: need[me] <= 1
        fi;
#endif
        if
        :: DIES
        :: w
        :: d_step { !w && IS_STATE -> waiters = true; w = true }
        :: !w && !IS_STATE -> goto look_again
        fi;
        if
        :: DIES
        :: d_step { IS_STATE -> asleep[me] = true }
        :: !IS_STATE -> goto look_again
        fi;
#ifdef SEVERAL_LATE
        if
        :: need[me] > 1 -> several = true
        :: need[me] <= 1
        fi;
#endif
end_sleeps:
        if
        :: d_step { !asleep[me] -> woken = true }
        :: d_step { asleep[me] && alarm[me] -> asleep[me] = false }
        :: d_step { asleep[me] && queues -> asleep[me] = false; over = true }
        :: killed[process] -> asleep[me] = false; goto died
        fi
     fi;
look_again:
     atomic { c = 0; w = false; queues = false }
  od;
  if
#ifdef NO_BATON
  :: true
#elif defined(NO_BATON_OF_WHO_LEAVES)
  :: woken && got -> wake(1)
  :: !(woken && got)
#else
  :: woken -> wake(1)
  :: !woken
#endif
  fi;
  d_step { c = 0; w = false; woken = false; over = false; slept = false; queues = false }
}

/* Gives what is held, or creates. */
inline give(number, held) {
  do
  :: d_step { true -> c = count; w = waiters; f = fair };
     if
     :: DIES
     :: d_step { IS_STATE -> count = c + number; holds[process] = holds[process] - held; waiters = w && f }; break
     :: !IS_STATE
     fi
  od;
  atomic { c = 0; f = false };
  if
  :: DIES
  :: w -> w = false; wake(number)
  :: !w
  fi
}

proctype Thread(byte me, process, turns) {
  byte c, n;
  bool is_thread = true, w, f, slept, queues, woken, over, got;
  do
  :: turns > 0 ->
     turns--;
     if
     :: DIES
     :: need[me] == 0 -> give(BATCH, 0)
     :: need[me] > 0 ->
        acquire();
        if
        :: got -> got = false; give(need[me], need[me])
        :: got && KEEPS == 1 ->
end_keeps: killed[process] -> goto died
        :: !got
        fi
     fi
  :: turns == 0 -> break
  od;
died:
  /* the lock goes with the last thread; who ends without a kill closes */
  atomic {
    c = 0; w = false; f = false; slept = false; queues = false; woken = false; over = false; got = false; n = 0; turns = 0;
    alive[process]--;
    if
    :: alive[process] == 0 && !killed[process] -> used[process] = false
    :: else
    fi
  }
}

#define IS_DEAD(i) (used[i] && alive[i] == 0)

proctype Recoverer() {
  byte process = THREADS, c, n;
  bool is_thread = false, w;
again:
end:
  if
  :: d_step { IS_DEAD(0) -> process = 0 }
  :: d_step { IS_DEAD(1) -> process = 1 }
  :: d_step { IS_DEAD(2) -> process = 2 }
  :: d_step { IS_DEAD(3) -> process = 3 }
  fi;

  do
  :: holds[process] == 0 -> break
  :: d_step { holds[process] > 0 -> c = count; w = waiters };
     if
     :: d_step { IS_STATE -> count = c + holds[process]; holds[process] = 0 }; break
     :: !IS_STATE
     fi
  od;
#ifdef FREED_FIRST
  used[process] = false;
#endif
  if
  :: DIES
  :: waiters = true
  fi;
#ifdef ONLY_FOR_WAITERS
  if
  :: w -> wake(1)
  :: !w
  fi;
#else
  wake(1);
#endif
  if
  :: DIES
  :: used[process] = false
  fi;
died:
  atomic {
    if
    :: used[process] && deaths > 0 -> deaths--
    :: else
    fi;
    process = THREADS; c = 0; w = false; n = 0
  };
  goto again
}

proctype Fate(byte kills, alarms) {
end:
  do
  :: kills > 0 ->
     kills--;
     if
     :: VICTIM != 255 -> killed[VICTIM % THREADS] = true
     :: VICTIM == 255 -> killed[0] = true
     :: VICTIM == 255 -> killed[1] = true
     :: VICTIM == 255 -> killed[2] = true
     :: VICTIM == 255 -> killed[3] = true
     fi
  :: alarms > 0 ->
     alarms--;
     if
     :: alarm[0] = true
     :: alarm[1] = true
     :: alarm[2] = true
     fi
  :: fair -> fair = false
  od
}

inline start(i, in_process, needs) {
  need[i] = needs;
  if
  :: needs != 255 -> alive[in_process]++; used[in_process] = true; run Thread(i, in_process, (needs == 0 -> CREATES : TURNS))
  :: else
  fi
}

#define IS_WELL(i) (!asleep[i] || (count < need[i] && waiters))

init {
  atomic {
    start(0, 0, NEED0); start(1, PROCESS1, NEED1); start(2, 2, NEED2); start(3, 3, NEED3);
    run Recoverer(); run Fate(KILLS, ALARMS)
  };
  timeout -> assert(IS_WELL(0) && IS_WELL(1) && IS_WELL(2) && IS_WELL(3))
}
