/* SPDX-License-Identifier: BSD-2-Clause */
/* One option's value: from the word on the command line into its field, and for --help back. */
#ifndef KRAIT_CLI_VALUE_H
#define KRAIT_CLI_VALUE_H

#include "user/base/strbuf.h"
#include "user/cli/cli.h"

/*
 * Sets *field, of the type that goes with opt->type, from `text` (ignored by types that take
 * nothing). 0; or -EINVAL or -ENOMEM with the reason for a person in *why (a list may then have
 * grown).
 */
int cli_value_set(const struct cli_opt *opt, const char *text, void *field, struct strbuf *why);

/* Frees what the lists among the options of the struct at `base` hold. opts may be NULL. */
void cli_values_release(const struct cli_opt *opts, void *base);

/* Appends *field as a person would write it ("99", "10s"); nothing for 0, NULL and lists. */
void cli_value_add(const struct cli_opt *opt, const void *field, struct strbuf *out);

#endif
