// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Runs the suite that the argument names, or those whose names contain the argument. Without an
 * argument, runs all. +WORD runs all suites whose names contain WORD, -WORD all others.
 */
#include <stdlib.h>
#include <time.h>

#include "fixture.h"

/* Return whether @name is a word of @words. */
static bool is_one_of(const char *name, const char *words)
{
	const char *at = strstr(words, name);

	return at && (at == words || at[-1] == ' ') && (!at[strlen(name)] || at[strlen(name)] == ' ');
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

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		Suite *(*make)(void);
	} suites[] = {
		{ "device", device_suite }, { "export", export_suite }, { "tool", tool_suite }, { "map", map_suite },
		{ "dma", dma_suite }, { "revoke", revoke_suite }, { "stress", stress_suite }, { "plug", plug_suite }, { "guest", guest_suite },
		{ "guest-random", guest_random_suite },
		{ "mmap", mmap_suite }, { "kill", kill_suite }, { "late", late_suite }, { "limits", limits_suite },
		{ "teardown", teardown_suite },
		{ "model", model_suite },
		{ "events", events_suite }, { "fuzz", fuzz_suite }, { "inject", inject_suite }, { "nop2p", nop2p_suite },
		{ "rdma", rdma_suite }, { "rdma-memory", rdma_memory_suite },
		{ "rdma-revoke", rdma_revoke_suite }, { "rdma-race", rdma_race_suite },
		{ "rdma-data", rdma_data_suite }, { "rdma-budget", rdma_budget_suite },
		{ "rdma-objects", rdma_objects_suite },
#ifdef HAVE_VERBS
		{ "verbs", verbs_suite },
#endif
	};
	/* Only the nop2p suite runs on the kernel without PCI_P2PDMA, and nowhere else. */
	bool nop2p = lab_kernel_is("nop2p");
	/*
	 * These suites test the libraries and the tool rather than the kernel, and are slow on
	 * debug.
	 */
	bool debug = lab_kernel_is("debug");
	const char *only = argc > 1 ? argv[1] : "";
	const char *logs = getenv("LAB_TEST_LOGS");
	bool all = !*only || *only == '+' || *only == '-', exact = false;
	int ran = 0, failed = 0;
	size_t i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (all)
		puts("not unless asked for by name: rdma-budget");
	if (debug && all)
		puts("not on the debug kernel, unless asked for by name: device, export, tool, guest, verbs, rdma-data, rdma-objects");
	/* Time limits are those of a busy host and the debug kernel. */
	if (!getenv("CK_TIMEOUT_MULTIPLIER"))
		setenv("CK_TIMEOUT_MULTIPLIER", "1", 1);
	for (i = 0; i < sizeof(suites) / sizeof(suites[0]); i++)
		exact = exact || !strcmp(suites[i].name, only);
	for (i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
		SRunner *runner;
		char log[200], byte;
		time_t began;

		if (!strcmp(suites[i].name, "nop2p") != nop2p)
			continue;
		if (debug && all && is_one_of(suites[i].name, "device export tool guest verbs rdma-data rdma-objects"))
			continue;
		if (all && !strcmp(suites[i].name, "rdma-budget"))
			continue;
		if (!is_selected(suites[i].name, only, exact))
			continue;
		runner = srunner_create(suites[i].make());
		/*
		 * Log each test with its time as soon as it ends: a test that hangs is the next
		 * one.
		 */
		if (logs) {
			snprintf(log, sizeof(log), "%s/test-%s.xml", logs, suites[i].name);
			srunner_set_xml(runner, log);
		}
		began = time(NULL);
		/*
		 * Tests inherit these descriptors, and need not reread the faults reported so far.
		 */
		lab_faults();
		lab_host_read(0, &byte, 1);
		srunner_run_all(runner, CK_ENV);
		printf("%s: %d tests in %ld s\n", suites[i].name, srunner_ntests_run(runner), (long)(time(NULL) - began));
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
