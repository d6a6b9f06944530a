// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Operands on the tool's command line. */
#include "../sentence.h"
#include "parse.h"
#include "unit.h"

START_TEST(numbers_good)
{
	static const struct {
		const char *text;
		uint64_t value;
	} good[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "0x1000", 4096 },
		{ "4K", 4096 },
		{ "2M", 2 << 20 },
		{ "1G", 1 << 30 },
		{ "1T", 1ULL << 40 },
		{ "3t", 3ULL << 40 },
		{ "0xffffffffffffffff", UINT64_MAX },
		{ "18446744073709551615", UINT64_MAX },
	};
	char why[200];
	uint64_t v;
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ck_assert_msg(!pbt_parse_number(good[i].text, &v, why, sizeof(why)), "%s: %s",
			      good[i].text, why);
		ck_assert_uint_eq(v, good[i].value);
	}
}
END_TEST

START_TEST(numbers_bad)
{
	static const char *const bad[] = { "",
					   "-1",
					   "+1",
					   " 1",
					   "1 ",
					   "x",
					   "0x",
					   "1Q",
					   "1KK",
					   "18446744073709551616",
					   "17179869184G",
					   "16777216T",
					   "1P",
					   "0x10000000000000000",
					   "1e3",
					   "1.5M" };
	char why[200];
	uint64_t v;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why[0] = '\0';
		ck_assert_msg(pbt_parse_number(bad[i], &v, why, sizeof(why)) != 0,
			      "'%s' was taken for a number", bad[i]);
		ck_assert_msg(strlen(why) > 10, "'%s': '%s' is no sentence", bad[i], why);
	}
}
END_TEST

START_TEST(ranges)
{
	static const char *const bad[] = { "", "1", ":", "1:", ":1", "0:4K:1", "0-4K", "0:-1" };
	struct pb_range r;
	char why[200];
	size_t i;

	ck_assert(!pbt_parse_range("1M:0x2000", &r, why, sizeof(why)));
	ck_assert_uint_eq(r.offset, 1 << 20);
	ck_assert_uint_eq(r.length, 0x2000);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(pbt_parse_range(bad[i], &r, why, sizeof(why)) != 0,
			      "'%s' was taken for a range", bad[i]);
}
END_TEST

START_TEST(bars)
{
	static const char *const bad[] = { "",
					   ":",
					   "0000:01:00.0",
					   "01:00.0",
					   "0000:01:00.0:",
					   "0000:01:00.0:6",
					   "0000:01:00.0:-1",
					   "0000:01:00.0:2+",
					   "0000:01:00.0:2+x",
					   "0000:01:00.0:2:1M",
					   "5:2",
					   "+1M" };
	unsigned int bar = 0;
	uint64_t offset = 1;
	char bdf[40], why[200];
	size_t i;

	ck_assert(!pbt_parse_bar("0000:01:00.0:2", bdf, &bar, &offset, why, sizeof(why)));
	ck_assert_str_eq(bdf, "0000:01:00.0");
	ck_assert_uint_eq(bar, 2);
	ck_assert_uint_eq(offset, 0);
	ck_assert(!pbt_parse_bar("01:00.0:5+16M", bdf, &bar, &offset, why, sizeof(why)));
	ck_assert_str_eq(bdf, "01:00.0");
	ck_assert_uint_eq(bar, 5);
	ck_assert_uint_eq(offset, 16 << 20);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(pbt_parse_bar(bad[i], bdf, &bar, &offset, why, sizeof(why)) < 0,
			      "'%s' was taken for a BAR", bad[i]);
}
END_TEST

START_TEST(pages)
{
	static const char *const bad[] = { "",	   "2",	   "+",	    "2+",  "+0", "6+0",
					   "-1+0", "2 +0", "2+0+0", "2+x", "2:0" };
	uint64_t offset = 1;
	unsigned int bar = 9;
	char why[200];
	size_t i;

	ck_assert(!pbt_parse_page("0+0", &bar, &offset, why, sizeof(why)));
	ck_assert_uint_eq(bar, 0);
	ck_assert_uint_eq(offset, 0);
	ck_assert(!pbt_parse_page("5+16M", &bar, &offset, why, sizeof(why)));
	ck_assert_uint_eq(bar, 5);
	ck_assert_uint_eq(offset, 16 << 20);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why[0] = '\0';
		ck_assert_msg(pbt_parse_page(bad[i], &bar, &offset, why, sizeof(why)) < 0,
			      "'%s' was taken for a page", bad[i]);
		ck_assert_msg(why[0], "'%s' is refused without a reason", bad[i]);
	}
}
END_TEST

START_TEST(memattrs)
{
	static const char *const bad[] = { "",	    ",",	   "wc,", ",wc", "wx",
					   "wc nc", "0x100000000", "-1",  "wcnc" };
	enum pb_memattr list[3];
	unsigned int n = 0;
	char why[200];
	size_t i;

	ck_assert(!pbt_parse_memattrs("wc", list, 3, &n, why, sizeof(why)));
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(list[0], PB_WC);
	ck_assert(!pbt_parse_memattrs("WB,0x01000002,nc", list, 3, &n, why, sizeof(why)));
	ck_assert_uint_eq(n, 3);
	ck_assert_int_eq(list[0], PB_WB);
	ck_assert_uint_eq((unsigned int)list[1], 0x01000002);
	ck_assert_int_eq(list[2], PB_NC);
	ck_assert(!pbt_parse_memattrs("dev,NC", list, 3, &n, why, sizeof(why)));
	ck_assert_uint_eq(n, 2);
	ck_assert_int_eq(list[0], PB_DEV);
	ck_assert_int_eq(pbt_parse_memattrs("nc,nc,nc,nc", list, 3, &n, why, sizeof(why)), -ERANGE);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(pbt_parse_memattrs(bad[i], list, 3, &n, why, sizeof(why)) == -EINVAL,
			      "'%s' was taken for attributes", bad[i]);
		ck_assert_msg(strstr(why, "nc, wc, wb"),
			      "'%s': '%s' does not say what would be right", bad[i], why);
	}
}
END_TEST

START_TEST(bytes)
{
	static const char *const bad[] = { "", "0", "0x00", "00 11", "gg", "001" };
	uint8_t b[4];
	char why[200];
	size_t i, n = 0;

	ck_assert(!pbt_parse_bytes("00fF12", b, &n, why, sizeof(why)));
	ck_assert_uint_eq(n, 3);
	ck_assert_mem_eq(b, "\x00\xff\x12", 3);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(pbt_parse_bytes(bad[i], b, &n, why, sizeof(why)) == -EINVAL,
			      "'%s' was taken for bytes", bad[i]);
}
END_TEST

void add_operand_tests(TCase *t)
{
	tcase_add_test(t, numbers_good);
	tcase_add_test(t, numbers_bad);
	tcase_add_test(t, ranges);
	tcase_add_test(t, bars);
	tcase_add_test(t, pages);
	tcase_add_test(t, memattrs);
	tcase_add_test(t, bytes);
}
