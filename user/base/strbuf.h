/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A growing byte buffer that is always NUL-terminated.
 *
 * Invariants: buf is never NULL after the first append and buf[len] is 0; `struct strbuf sb = {}`
 * is a valid empty buffer. An append that can't get memory sets `failed` and drops the bytes, and
 * so does every later one until strbuf_reset: what is there is a beginning, without gaps. Check
 * once, at the end.
 */
#ifndef KRAIT_BASE_STRBUF_H
#define KRAIT_BASE_STRBUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct strbuf {
	char *buf;
	size_t len, cap;
	bool failed;
};

void strbuf_release(struct strbuf *sb);
/* Empties, forgets `failed`, and keeps the memory. */
void strbuf_reset(struct strbuf *sb);
/* Room for `extra` more bytes and the NUL. False if there is no memory. */
bool strbuf_reserve(struct strbuf *sb, size_t extra);
void strbuf_add(struct strbuf *sb, const void *bytes, size_t len);
void strbuf_add_str(struct strbuf *sb, const char *str);
void strbuf_add_char(struct strbuf *sb, char c);
void strbuf_addf(struct strbuf *sb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void strbuf_vaddf(struct strbuf *sb, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));
/* The text so far, "" when there is none; borrowed until the next call on sb. */
const char *strbuf_text(const struct strbuf *sb);

#endif
