/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The process that reads what is not ours: other processes' files and memory.
 *
 * A scan opens files that others chose, parses them, and reads memory that others write. One may
 * wait for ever (a file system whose server does not answer), take for ever (a file made to be slow
 * to parse) or crash. So scans run in a process of their own, one at a time: what goes wrong costs
 * that scan, and the run goes on. It is also why a drain never waits for a scan.
 *
 * Who calls scanner_start gets its result later: scanner_fd() becomes readable, or, for a scan that
 * is never done, scanner_next_ns() comes. Not thread-safe.
 */
#ifndef KRAIT_SESSION_SCANNER_H
#define KRAIT_SESSION_SCANNER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "user/session/thread_names.h"
#include "user/target/discover.h"

#define SCAN_THREADS 128	/* of one scan for names */
#define SCAN_CMDLINE_BYTES 4096 /* of a command line that is kept */
#define SCAN_TEXT_BYTES (SCAN_THREADS * THREAD_NAME_BYTES)

enum scan_kind {
	SCAN_PROCESS = 1, /* what is it, and its command line if it is a Python */
	SCAN_NAMES = 2,	  /* what Python calls some of its threads */
	SCAN_PAGES = 3,	  /* memory that a tick could not read, to be brought back */
};

struct scan_request {
	enum scan_kind kind;
	pid_t pid;
	struct cpython python; /* SCAN_NAMES, SCAN_PAGES */
	/* SCAN_NAMES: what thread_names_read takes. */
	uint32_t thread_cnt;
	struct named_thread threads[SCAN_THREADS]; /* their `name` is not used */
	struct krait_absent_rec absent;		   /* SCAN_PAGES */
};

struct scan_result {
	/* 0; -ETIME: it took too long and was given up; -ECHILD: the process that scanned died of
	 * it; or trouble of our own (memory, file descriptors). */
	int err;
	uint64_t cost_ns;     /* CPU time that it took */
	struct target target; /* SCAN_PROCESS */
	uint32_t page_cnt;    /* SCAN_PAGES: brought back */
	/* SCAN_PROCESS: the command line, arguments separated by NUL. SCAN_NAMES: the names of the
	 * request's threads in their order, each ended by a NUL, empty where there is none. */
	uint32_t text_bytes;
	char text[SCAN_TEXT_BYTES];
};

struct scanner;

/* Starts the process; to be called before anything is opened that it should not hold. NULL with
 * errno. */
struct scanner *scanner_new(void);
/* Ends it. */
void scanner_free(struct scanner *s);

/* Readable when scanner_take may have something. The same for the scanner's whole lifetime; -1 if
 * that has come to its end, since somebody has killed it. */
int scanner_fd(const struct scanner *s);
/* When to call scanner_take though nothing is readable (CLOCK_MONOTONIC); UINT64_MAX: never. */
uint64_t scanner_next_ns(const struct scanner *s);

/* Whether a scan is under way, or nobody is there to do one. */
bool scanner_is_busy(const struct scanner *s);
/* The request to be filled in for scanner_start; only while the scanner is not busy. */
struct scan_request *scanner_request(struct scanner *s);
void scanner_start(struct scanner *s, uint64_t now_ns);
/* The result of the scan that was started, or NULL: not yet. Borrowed until the next start. */
const struct scan_result *scanner_take(struct scanner *s, uint64_t now_ns);
/* Scans a process and waits for it, within the bounds of any scan. */
const struct scan_result *scanner_run(struct scanner *s, pid_t pid);

/* The CPU time that all scans have taken, and the memory of the process that does them (its
 * VmHWM, in KB; 0 if it can't be had). */
uint64_t scanner_cpu_ns(struct scanner *s);
uint64_t scanner_peak_kb(const struct scanner *s);
/* Scans given up because they took too long or crashed. */
uint32_t scanner_failed_cnt(const struct scanner *s);

#endif
