/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The end of a unit test program's main(). */
#ifndef RUN_SUITE_H
#define RUN_SUITE_H

#include <check.h>

/* Run the suite as the environment asks for. Return the exit status. */
static inline int run_suite(Suite *s)
{
	SRunner *r = srunner_create(s);
	int failed;

	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}

#endif
