/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A message is made whole first and written in one go, so that two threads' lines can't mix. errno
 * is kept: whoever logs an error usually still has to return it.
 */
#include "user/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include "user/base/strbuf.h"
#include "user/base/text.h"

static atomic_int log_level = LOG_INFO;

void log_set_level(enum log_level level)
{
	atomic_store(&log_level, (int)level);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load(&log_level);
}

void log_at(enum log_level level, const char *fmt, ...)
{
	struct strbuf raw = {0}, line = {0};
	int saved_errno = errno;
	va_list ap;

	if (level > log_get_level())
		return;
	va_start(ap, fmt);
	strbuf_vaddf(&raw, fmt, ap);
	va_end(ap);

	strbuf_add_str(&line, "krait: ");
	text_add_utf8(&line, strbuf_text(&raw), raw.len);
	strbuf_add_char(&line, '\n');
	if (raw.failed || line.failed)
		fputs("krait: a message was lost: out of memory\n", stderr);
	else
		fwrite(line.buf, 1, line.len, stderr);
	strbuf_release(&raw);
	strbuf_release(&line);
	errno = saved_errno;
}
