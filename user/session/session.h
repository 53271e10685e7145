/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A run, step by step: the stages joined. Records come out of the rings, processes are classified,
 * time passes, the command ends, and every record goes to the sink in the order that a recording
 * will have.
 *
 *     session_new(&opts, &sink, &s)      all that can fail before anything is sampled
 *     session_start(s)                   the first tick; the command runs
 *     while (session_step(s, ...) == 1)  whenever session_fd(s) is readable, and after
 *                                        session_timeout_ms(s)
 *     session_finish(s)                  the last tick, and all that still waits
 *     session_result(s), session_free(s)
 *
 * Who owns it owns the loop, signals and the terminal too. All calls come from one thread, and none
 * takes long but session_new and session_finish: a drain gives way after 10 ms, scans are another
 * process's. Of the pointers in the options none is copied. One session in a process at a time.
 */
#ifndef KRAIT_SESSION_SESSION_H
#define KRAIT_SESSION_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bpf/abi/ledger.h"
#include "bpf/abi/record.h"
#include "user/session/selection.h"
#include "user/session/usage.h"

struct session_opts {
	uint32_t freq_hz;
	uint32_t max_depth;
	uint64_t duration_ns; /* 0: until a signal, or the end of the targets */
	struct selection who;
	char *const *command; /* started, and followed until it ends; NULL: none */
	bool name_threads;   /* as Python's threading does; else the kernel's names are all there is
			      */
	bool measure;	     /* --stats: have the kernel time the ticks */
	bool realtime;	     /* --realtime: see priority.h */
	uint64_t max_cpu_ns; /* of a second, for all that krait does: see governor.h */
	bool owns_stdout;    /* it is for the profile: what the command prints goes to stderr */
};

/* Where the run's records go, checked. A negative return ends the run with that error. cpu_ns is
 * the CPU time that they have taken in other threads so far, for max_cpu_ns; NULL: none. */
struct session_sink {
	int (*on_record)(const struct krait_hdr *rec, void *arg);
	uint64_t (*cpu_ns)(void *arg);
	void *arg;
};

/* A kind of process that could not be profiled, and how many of it were met. */
struct session_refusal {
	char why[160];
	uint32_t process_cnt;
	uint32_t an_example_pid;
	bool is_forbidden; /* krait's privileges are in the way, not the process */
};

#define SESSION_REFUSALS 16

struct session_result {
	uint64_t start_mono_ns, duration_ns;
	uint64_t first_sample_ns; /* after the start; 0: there was none */
	uint64_t counters[KRAIT_CNT_CNT];
	/* With opts.measure: time in the BPF program, and its runs; krait's own CPU time before the
	 * first tick and until the last record was taken; and how full the maps were. */
	uint64_t tick_total_ns, tick_cnt;
	uint64_t start_cpu_ns, end_cpu_ns;
	struct usage usage;
	uint64_t records_malformed;
	uint32_t python_cnt;  /* processes found to be profilable, forked children not counted */
	bool has_idle_python; /* there were none, but a Python runs that no tick hit */
	/* Ticks on processes before they were classified: as targets; as none. They are in the
	 * counters. */
	uint64_t early_ticks, rejected_ticks;
	/* What it took besides the CPU time of krait's own process. */
	uint64_t scan_cpu_ns, bpf_ns;
	uint64_t scan_peak_kb; /* memory of the process that scans */
	uint32_t scans_failed;
	/* What --max-cpu took: the most ticks that a sample stood for, and seconds over it. */
	uint32_t max_weight, slow_s;
	bool lost_realtime; /* the watchdog of --realtime ended it */
	struct session_refusal refusals[SESSION_REFUSALS];
	uint32_t refusal_cnt;
	uint32_t others_refused; /* processes, for reasons beyond that room */
	int command_status;  /* exit status of the command, 128 + n if signal n ended it; -1: none,
				 or it still runs */
	bool has_no_command; /* it could not be run; command_status is then 127 or 126 */
};

struct session;

/*
 * Checks the processes asked for, forks the command, which waits, loads the programs. 0 and *out;
 * else NULL there and -EPERM or -EOPNOTSUPP (not allowed, not supported), -ESRCH (no process that
 * could be profiled among those asked for), or another -errno; logged.
 */
int session_new(const struct session_opts *opts, const struct session_sink *sink,
		struct session **out);
/* Ends what still runs, but for the command. NULL is fine. */
void session_free(struct session *s);

/* Starts the timers, gives up the calling thread's privileges that are no longer needed
 * (privilege.h), and lets the command run. 0 or -errno, logged; then session_finish comes next. */
int session_start(struct session *s);

/* Readable (poll) when session_step has something to do, or else that has a time: */
int session_fd(const struct session *s);
/* in so many milliseconds, as poll and epoll_wait take them, rounded up. Another one after each
 * step. */
int session_timeout_ms(const struct session *s);
/* Does what is due; is_ready: the descriptor was readable. 1: the run goes on; 0: it is over (its
 * time, its processes, its command); or -errno, the sink's among them. */
int session_step(struct session *s, bool is_ready);
/* All records that wait go to the sink now. 0 or -errno. The calling thread's CPU time until the
 * next call of this or of session_step does not count for max_cpu_ns. */
int session_drain(struct session *s);
/* The counters that belong to what the sink has got: right after session_drain. KRAIT_CNT_CNT. */
void session_counters(const struct session *s, uint64_t *counters);
/* Passes a signal that krait got on to the command, if there is one that runs. */
void session_forward(struct session *s, int signo);

/* Ends the sampling, hands what still waits to the sink, and lets go of the BPF side. 0 or -errno.
 * Also after a session_start that failed. */
int session_finish(struct session *s);

/* How the run is going; whole after session_finish. Lives as long as the session. */
const struct session_result *session_result(const struct session *s);
/* Samples so far. */
uint64_t session_sample_cnt(const struct session *s);

/* Waits for the command to end, if there was one and it still runs, and returns its status to pass
 * on; 0 without a command. */
int session_wait_command(struct session *s);

#endif
