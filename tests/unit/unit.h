/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The files of the program unit: each adds its tests to a test case. */
#ifndef UNIT_H
#define UNIT_H

#include <check.h>

void add_aperture_tests(TCase *t);
void add_api_tests(TCase *t);
void add_descriptor_tests(TCase *t);
void add_error_tests(TCase *t);
void add_fdinfo_tests(TCase *t);
void add_guest_layout_tests(TCase *t);
void add_guest_tests(TCase *t);
void add_holder_tests(TCase *t);
void add_message_tests(TCase *t);
void add_model_tests(TCase *t);
void add_operand_tests(TCase *t);
void add_page_tests(TCase *t);
void add_pci_path_tests(TCase *t);
void add_pci_tests(TCase *t);
void add_rdma_link_tests(TCase *t);
void add_vfio_feature_tests(TCase *t);

/* errors.c: what its test of the debug log executes, in a process of its own */
int fail_for_debug_log(void);

#endif
