// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The kernel's description of a descriptor in /proc. */
#include "../sentence.h"
#include "internal.h"
#include "unit.h"

START_TEST(fdinfo_of_a_dmabuf)
{
	struct pb_fdinfo info;

	pb_parse_fdinfo("pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t3\nsize:\t2097152\ncount:\t1\nexp_name:\tvfio_pci_core\n"
			"name:\t0000:01:00.0 BAR 2\n",
			&info);
	ck_assert(info.is_dmabuf);
	ck_assert_uint_eq(info.size, 2097152);
	ck_assert_str_eq(info.exporter, "vfio_pci_core");
	ck_assert_str_eq(info.name, "0000:01:00.0 BAR 2");
	pb_parse_fdinfo("pos:\t0\nsize:\t4096\ncount:\t1\nexp_name:\tudmabuf\n", &info);
	ck_assert(info.is_dmabuf);
	ck_assert_str_eq(info.name, "");
}
END_TEST

START_TEST(fdinfo_of_something_else)
{
	struct pb_fdinfo info;

	pb_parse_fdinfo("pos:\t0\nflags:\t0100002\nmnt_id:\t24\nino:\t5\n", &info);
	ck_assert(!info.is_dmabuf);
	pb_parse_fdinfo("", &info);
	ck_assert(!info.is_dmabuf);
	pb_parse_fdinfo("size:\t4096\n", &info);
	ck_assert(!info.is_dmabuf);
	pb_parse_fdinfo("size:\tmany\nexp_name:\tudmabuf\n", &info);
	ck_assert(!info.is_dmabuf);
	pb_parse_fdinfo("size:\t99999999999999999999999\nexp_name:\tudmabuf\n", &info);
	ck_assert(!info.is_dmabuf);
}
END_TEST

/*
 * The holder chooses the name, which may contain newlines: it must not pass for the kernel's
 * fields.
 */
START_TEST(fdinfo_with_a_forged_name)
{
	struct pb_fdinfo info;

	pb_parse_fdinfo("size:\t4096\ncount:\t1\nexp_name:\txe\nname:\tx\nexp_name:\tudmabuf\nsize:\t1\n",
			&info);
	ck_assert(info.is_dmabuf);
	ck_assert_str_eq(info.exporter, "xe");
	ck_assert_uint_eq(info.size, 4096);
	/* Longer than the field. */
	pb_parse_fdinfo("size:\t4096\nexp_name:\tabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz\n",
			&info);
	ck_assert_uint_eq(strlen(info.exporter), sizeof(info.exporter) - 1);
}
END_TEST

void add_fdinfo_tests(TCase *t)
{
	tcase_add_test(t, fdinfo_of_a_dmabuf);
	tcase_add_test(t, fdinfo_of_something_else);
	tcase_add_test(t, fdinfo_with_a_forged_name);
}
