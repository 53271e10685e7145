/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Foreign text, made safe once, where it enters user space: what these append is valid UTF-8 that
 * holds no control character (C0, C1, DEL), no bidirectional control, no line or paragraph
 * separator, and neither U+FFFE nor U+FFFF (no XML can hold them); those come out as \xNN or
 * \uNNNN, surrogates and broken sequences as U+FFFD. ';' stays: it is an exporter's business
 * (folded turns it into ':').
 */
#ifndef KRAIT_BASE_TEXT_H
#define KRAIT_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "user/base/strbuf.h"

/* Appends one code point, made safe. */
void text_add_codepoint(struct strbuf *out, uint32_t cp);
/* Appends bytes that ought to be UTF-8 (a command line, a path, a comm), made safe. */
void text_add_utf8(struct strbuf *out, const char *bytes, size_t len);
/* Appends the characters of a CPython str as they lie in memory: width 1 (Latin-1), 2 or 4 bytes
 * each, host endian; a last partial character is dropped. Any other width appends nothing and
 * returns -EINVAL, else 0. */
int text_add_pystr(struct strbuf *out, const void *bytes, size_t len, unsigned int width);

#endif
