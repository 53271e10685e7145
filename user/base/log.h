/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Talk to the person at the terminal: everything here goes to stderr, one line a message.
 *
 * A message reads "stage: action object: reason" and is written once, where the cause is known. The
 * level is one of the two mutable globals of the program (the other is the stop flag in session).
 */
#ifndef KRAIT_BASE_LOG_H
#define KRAIT_BASE_LOG_H

enum log_level {
	LOG_ERROR,   /* --quiet: only what ends the run */
	LOG_WARN,    /* what may make the result less than asked for */
	LOG_INFO,    /* the default: progress, footer, file names */
	LOG_VERBOSE, /* --verbose: each process found, each decision */
};

void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/*
 * Writes "krait: MESSAGE\n" to stderr if LEVEL is on. The message (which may hold a target's names)
 * is made safe as base/text.h says, newlines included: one message, one line. Keeps errno.
 * Thread-safe.
 */
void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_verbose(...) log_at(LOG_VERBOSE, __VA_ARGS__)

#endif
