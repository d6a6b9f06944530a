/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Registration of the suites of lab-check. The suite NAME is tests/lab/suites/NAME.c, which ends
 * with its test cases:
 *
 *	LAB_SUITE("NAME", 0)
 *	{
 *		TCase *t = suite_case(s, "all", 120, fixture_up, fixture_down);
 *
 *		tcase_add_test(t, one_test);
 *	}
 *
 * Makefile.am has the list of these files, in the order in which the suites run. A large suite has
 * a folder tests/lab/suites/NAME/: one of its files ends with LAB_SUITE("NAME", 0), and the others
 * with LAB_SUITE_PART("NAME"), each with its test cases.
 */
#ifndef SUITE_H
#define SUITE_H

#include <check.h>
#include <stdbool.h>

/* ---- flags of suites ---- */

/* Runs only if the argument names it. */
#define SUITE_BY_NAME	   1
/*
 * Takes too long on the debug kernel, or tests the libraries and the tool rather than the kernel:
 * runs there only if the argument names it.
 */
#define SUITE_NOT_ON_DEBUG 2
/* Runs on the kernel without PCI_P2PDMA, where no other suite runs, and on no other kernel. */
#define SUITE_NOP2P	   4

/* A suite, or a part of the suite that has the same name. */
struct suite_part {
	const char *name;
	bool is_part;
	unsigned int flags; /* 0 for parts */
	void (*add_cases)(Suite *s);
	struct suite_part *next;
};

void suite_register(struct suite_part *part);

#define LAB_SUITE(suite, suite_flags) LAB_REGISTER(suite, false, suite_flags)
#define LAB_SUITE_PART(suite)	      LAB_REGISTER(suite, true, 0)

/* One for each file. */
#define LAB_REGISTER(suite, part, suite_flags)                                                 \
	static void add_cases(Suite *s);                                                       \
	__attribute__((constructor)) static void register_this(void)                           \
	{                                                                                      \
		static struct suite_part this = { suite, part, suite_flags, add_cases, NULL }; \
                                                                                               \
		suite_register(&this);                                                         \
	}                                                                                      \
	static void add_cases(Suite *s)

/*
 * Add a test case to the suite. @up and @down, NULL for none, run around each test, which may take
 * @timeout seconds.
 */
TCase *suite_case(Suite *s, const char *name, double timeout, void (*up)(void), void (*down)(void));

#endif
