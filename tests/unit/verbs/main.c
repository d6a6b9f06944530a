// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Tests of the verbs library that need no device. */
#include "../run-suite.h"
#include "mock.h"

int main(void)
{
	Suite *s = suite_create("unit-verbs");
	TCase *t = tcase_create("all");

	tcase_set_timeout(t, 120); /* valgrind */
	tcase_add_checked_fixture(t, setup, teardown);
	add_region_tests(t);
	add_watch_tests(t);
	add_cache_tests(t);
	add_address_tests(t);
	suite_add_tcase(s, t);
	t = tcase_create("hits");
	tcase_add_checked_fixture(t, setup, teardown);
	add_hit_tests(t);
	suite_add_tcase(s, t);
	return run_suite(s);
}
