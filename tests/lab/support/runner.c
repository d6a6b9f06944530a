// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Runs the suite that the argument names, or those whose names contain the argument. Without an
 * argument, runs all. +WORD runs all suites whose names contain WORD, -WORD all others. --list
 * prints the names of all suites, each with its flags; it needs no machine.
 */
#include <stdlib.h>
#include <time.h>

#include "fixture.h"

static struct suite_part *parts;

/* Constructors call it, in the order of linking. */
void suite_register(struct suite_part *part)
{
	struct suite_part **end = &parts;

	while (*end)
		end = &(*end)->next;
	*end = part;
}

TCase *suite_case(Suite *s, const char *name, double timeout, void (*up)(void), void (*down)(void))
{
	TCase *t = tcase_create(name);

	tcase_set_timeout(t, timeout);
	if (up)
		tcase_add_checked_fixture(t, up, down);
	suite_add_tcase(s, t);
	return t;
}

/* Return the next suite after @part, or the first one if that is NULL. */
static const struct suite_part *next_suite(const struct suite_part *part)
{
	part = part ? part->next : parts;
	while (part && part->is_part)
		part = part->next;
	return part;
}

static const struct suite_part *find_suite(const char *name)
{
	const struct suite_part *suite;

	for (suite = next_suite(NULL); suite; suite = next_suite(suite))
		if (!strcmp(suite->name, name))
			return suite;
	return NULL;
}

/* Each name has one suite, and each part has a suite. */
static void check_registrations(void)
{
	const struct suite_part *part;

	for (part = parts; part; part = part->next) {
		const struct suite_part *suite = find_suite(part->name);

		if (!suite)
			lab_die("a part of the suite %s is registered, but no such suite",
				part->name);
		if (!part->is_part && suite != part)
			lab_die("two suites are registered as %s", part->name);
	}
}

static Suite *make_suite(const struct suite_part *suite)
{
	Suite *s = suite_create(suite->name);
	const struct suite_part *part;

	for (part = parts; part; part = part->next)
		if (!strcmp(part->name, suite->name))
			part->add_cases(s);
	return s;
}

static void list_suites(void)
{
	const struct suite_part *suite;

	for (suite = next_suite(NULL); suite; suite = next_suite(suite))
		printf("%s%s%s%s\n", suite->name, suite->flags & SUITE_BY_NAME ? " by-name" : "",
		       suite->flags & SUITE_NOT_ON_DEBUG ? " not-on-debug" : "",
		       suite->flags & SUITE_NOP2P ? " nop2p" : "");
}

/* Print the names of the suites with this flag. */
static void print_suites(const char *what, unsigned int flag)
{
	const struct suite_part *suite;
	const char *separator = ": ";

	fputs(what, stdout);
	for (suite = next_suite(NULL); suite; suite = next_suite(suite)) {
		if (!(suite->flags & flag))
			continue;
		printf("%s%s", separator, suite->name);
		separator = ", ";
	}
	putchar('\n');
}

/* Return whether @only selects the suite @name. With @exact, @only is a suite's name. */
static bool is_selected(const char *name, const char *only, bool exact)
{
	if (exact)
		return !strcmp(name, only);
	if (*only == '+' || *only == '-')
		return !strstr(name, only + 1) == (*only == '-');
	return strstr(name, only);
}

/* Tests inherit the addresses: reading all of sysfs's functions takes a second on the debug kernel. */
static void find_devices(void)
{
	int role;

	for (role = 0; role < LAB_ROLES; role++)
		lab_bdf(role);
}

int main(int argc, char **argv)
{
	bool nop2p = lab_kernel_is("nop2p"), debug = lab_kernel_is("debug");
	const char *only = argc > 1 ? argv[1] : "";
	const char *logs = getenv("LAB_TEST_LOGS");
	bool all = !*only || *only == '+' || *only == '-', exact;
	const struct suite_part *suite;
	int ran = 0, failed = 0;

	check_registrations();
	if (!strcmp(only, "--list")) {
		list_suites();
		return 0;
	}
	find_devices();
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (all)
		print_suites("not unless asked for by name", SUITE_BY_NAME);
	if (debug && all)
		print_suites("not on the debug kernel, unless asked for by name",
			     SUITE_NOT_ON_DEBUG);
	/* Time limits are those of a busy host and the debug kernel. */
	if (!getenv("CK_TIMEOUT_MULTIPLIER"))
		setenv("CK_TIMEOUT_MULTIPLIER", "1", 1);
	exact = find_suite(only);
	for (suite = next_suite(NULL); suite; suite = next_suite(suite)) {
		SRunner *runner;
		char log[200], byte;
		time_t began;

		if (!!(suite->flags & SUITE_NOP2P) != nop2p)
			continue;
		if (debug && all && suite->flags & SUITE_NOT_ON_DEBUG)
			continue;
		if (all && suite->flags & SUITE_BY_NAME)
			continue;
		if (!is_selected(suite->name, only, exact))
			continue;
		runner = srunner_create(make_suite(suite));
		/*
		 * Log each test with its time as soon as it ends: a test that hangs is the next
		 * one.
		 */
		if (logs) {
			snprintf(log, sizeof(log), "%s/test-%s.xml", logs, suite->name);
			srunner_set_xml(runner, log);
		}
		began = time(NULL);
		/*
		 * Tests inherit these descriptors, and need not reread the faults reported so far.
		 */
		lab_faults();
		lab_host_read(0, &byte, 1);
		srunner_run_all(runner, CK_ENV);
		printf("%s: %d tests in %ld s\n", suite->name, srunner_ntests_run(runner),
		       (long)(time(NULL) - began));
		ran += srunner_ntests_run(runner);
		failed += srunner_ntests_failed(runner);
		srunner_free(runner);
	}
	if (!ran) {
		fprintf(stderr, "lab-check: no suite for this kernel has '%s' in its name\n", only);
		return 2;
	}
	return failed ? 1 : 0;
}
