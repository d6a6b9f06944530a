// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* PCI addresses. */
#include "../sentence.h"
#include "internal.h"
#include "unit.h"

START_TEST(bdf_good)
{
	char bdf[PB_BDF_LEN];

	ok(pb_parse_bdf("0000:01:00.0", bdf, &err));
	ck_assert_str_eq(bdf, "0000:01:00.0");
	ok(pb_parse_bdf("a:1F.7", bdf, &err));
	ck_assert_str_eq(bdf, "0000:0a:1f.7");
	ok(pb_parse_bdf("10000:e1:00.0", bdf, &err));
	ck_assert_str_eq(bdf, "10000:e1:00.0");
	ok(pb_parse_bdf("ffffffff:ff:1f.7", bdf, &err));
	ck_assert_str_eq(bdf, "ffffffff:ff:1f.7");
}
END_TEST

START_TEST(bdf_bad)
{
	static const char *const bad[] = { "",
					   "1",
					   "01:00",
					   "01:00.8",
					   "01:20.0",
					   "0000:01:00.0x",
					   "0000:01:00.0/..",
					   " 01:00.0",
					   "01:00.0 ",
					   "-1:00.0",
					   "0x1:00.0",
					   "../../etc",
					   "0000:001:00.0",
					   "100000000:01:00.0",
					   "01:00.00" };
	char bdf[PB_BDF_LEN];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refused(pb_parse_bdf(bad[i], bdf, &err), EINVAL, "no PCI address");
	refused(pb_parse_bdf(NULL, bdf, &err), EINVAL, "no PCI address");
}
END_TEST

void add_pci_tests(TCase *t)
{
	tcase_add_test(t, bdf_good);
	tcase_add_test(t, bdf_bad);
}
