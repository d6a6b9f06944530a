// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Tests that need no machine: parsing, searching, argument checks, and the errors of calls that
 * need no device.
 */
#include <string.h>

#include "run-suite.h"
#include "unit.h"

int main(int argc, char **argv)
{
	TCase *t;
	Suite *s;

	if (argc > 1 && !strcmp(argv[1], "--debug-log"))
		return fail_for_debug_log();
	s = suite_create("unit");
	t = tcase_create("all");
	tcase_set_timeout(t, 120); /* valgrind */
	add_error_tests(t);
	add_model_tests(t);
	add_vfio_feature_tests(t);
	add_message_tests(t);
	add_api_tests(t);
	add_fdinfo_tests(t);
	add_pci_tests(t);
	add_pci_path_tests(t);
	add_holder_tests(t);
	add_aperture_tests(t);
	add_page_tests(t);
	add_guest_layout_tests(t);
	add_guest_tests(t);
	add_operand_tests(t);
	add_rdma_link_tests(t);
	suite_add_tcase(s, t);
	/* by themselves, because valgrind finds fault with any use of a descriptor that is not open */
	t = tcase_create("descriptors");
	add_descriptor_tests(t);
	suite_add_tcase(s, t);
	return run_suite(s);
}
