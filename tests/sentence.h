/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What all tests say with Check. */
#ifndef SENTENCE_H
#define SENTENCE_H

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "peerbar.h"

/* the call succeeds; otherwise the test fails with the library's own sentence */
#define ok(call)                                                                                                                  \
	do {                                                                                                                      \
		memset(&err, 0, sizeof(err));                                                                                     \
		if ((call) < 0)                                                                                                   \
			ck_abort_msg("%s: %s", #call, err.text);                                                                  \
	} while (0)

/* the call fails with -code, and a sentence that has the words */
#define refused(call, want, words) refused_(call, #call, want, words, &err)

static inline void refused_(int ret, const char *call, int want, const char *words, struct pb_error *err)
{
	ck_assert_msg(ret == -want, "%s: %d (%s), not %d (%s); %s", call, ret, ret < 0 ? strerror(-ret) : "no error", -want,
		      strerror(want), ret < 0 ? err->text : "");
	ck_assert_msg(err->code == want, "%s: the error has code %d, not %d", call, err->code, want);
	ck_assert_msg(strstr(err->text, words), "%s: '%s' does not say '%s'", call, err->text, words);
	ck_assert_msg(!strchr(err->text, '\n') && strlen(err->text) > 15, "%s: '%s' is no sentence", call, err->text);
	memset(err, 0, sizeof(*err));
}

#endif
