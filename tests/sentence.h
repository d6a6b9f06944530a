/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Checks that all tests share. */
#ifndef SENTENCE_H
#define SENTENCE_H

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "peerbar.h"

/*
 * Check that a call of the library succeeds. If it fails, abort the test with the library's message.
 * The call gives &err, which the macro declares.
 */
#define ok(call)                                                 \
	do {                                                     \
		struct pb_error err = { 0 };                     \
		if ((call) < 0)                                  \
			ck_abort_msg("%s: %s", #call, err.text); \
	} while (0)

/* Check that it fails with -want and a message that contains @words. */
#define refused(call, want, words)                        \
	do {                                              \
		struct pb_error err = { 0 };              \
		refused_(call, #call, want, words, &err); \
	} while (0)

static inline void refused_(int ret, const char *call, int want, const char *words,
			    struct pb_error *err)
{
	ck_assert_msg(ret == -want, "%s: %d (%s), not %d (%s); %s", call, ret,
		      ret < 0 ? strerror(-ret) : "no error", -want, strerror(want),
		      ret < 0 ? err->text : "");
	ck_assert_msg(err->code == want, "%s: the error has code %d, not %d", call, err->code,
		      want);
	ck_assert_msg(strstr(err->text, words), "%s: '%s' does not say '%s'", call, err->text,
		      words);
	ck_assert_msg(!strchr(err->text, '\n') && strlen(err->text) > 15, "%s: '%s' is no sentence",
		      call, err->text);
}

#endif
