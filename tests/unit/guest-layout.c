// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Positions of BARs in a guest. */
#include <stdlib.h>

#include "../sentence.h"
#include "guest-state.h"
#include "internal.h"
#include "unit.h"

START_TEST(what_a_bar_claims)
{
	struct pb_span claim;

	ck_assert(pb_bar_claim(0x10000000, 0x10000, false, 4096, &claim));
	ck_assert_uint_eq(claim.first, 0x10000000);
	ck_assert_uint_eq(claim.last, 0x1000ffff);
	/* A BAR smaller than a page claims the page. */
	ck_assert(pb_bar_claim(0x10000300, 0x100, false, 4096, &claim));
	ck_assert_uint_eq(claim.first, 0x10000000);
	ck_assert_uint_eq(claim.last, 0x10000fff);
	ck_assert(!pb_bar_claim(PB_GUEST_NOWHERE, 0x10000, true, 4096, &claim));
	ck_assert(!pb_bar_claim(0x10000000, 0, true, 4096, &claim));
	/* During sizing all address bits are ones. */
	ck_assert(!pb_bar_claim(0xffff0000, 0x10000, false, 4096, &claim));
	ck_assert(!pb_bar_claim(0xffffffffffff0000, 0x10000, true, 4096, &claim));
	ck_assert(!pb_bar_claim(0xffffffffffff0000, 0x10000, false, 4096, &claim));
	/* The lower half of a 64-bit BAR is not enough. */
	ck_assert(pb_bar_claim(0xffff0000, 0x10000, true, 4096, &claim));
	ck_assert_uint_eq(claim.last, 0xffffffff);
	ck_assert(pb_bar_claim(0x1ffff0000, 0x10000, false, 4096, &claim));
	/* A range that would wrap around claims nothing. */
	ck_assert(!pb_bar_claim(0xffffffffffff0000, 0x20000, true, 4096, &claim));
	ck_assert(pb_bar_claim(0, 0x10000, true, 4096, &claim));
	ck_assert_uint_eq(claim.first, 0);
}
END_TEST

START_TEST(runs_of_spans)
{
	const struct pb_span spans[] = {
		{ .first = 10, .last = 19 },
		{ .first = 15, .last = 39 },
		{ .first = 30, .last = UINT64_MAX },
	};
	uint64_t end;

	ck_assert_int_eq(pb_span_run(spans, 3, 0, 100, &end), -1);
	ck_assert_uint_eq(end, 9);
	ck_assert_int_eq(pb_span_run(spans, 3, 10, 100, &end), 0);
	ck_assert_uint_eq(end, 19);
	/* The earlier span takes precedence. */
	ck_assert_int_eq(pb_span_run(spans, 3, 17, 100, &end), 0);
	ck_assert_uint_eq(end, 19);
	ck_assert_int_eq(pb_span_run(spans, 3, 20, 100, &end), 1);
	ck_assert_uint_eq(end, 39);
	ck_assert_int_eq(pb_span_run(spans, 3, 40, UINT64_MAX, &end), 2);
	ck_assert_uint_eq(end, UINT64_MAX);
	/* Not beyond the requested end. */
	ck_assert_int_eq(pb_span_run(spans, 3, 11, 12, &end), 0);
	ck_assert_uint_eq(end, 12);
	ck_assert_int_eq(pb_span_run(spans, 3, 5, 5, &end), -1);
	ck_assert_uint_eq(end, 5);
	ck_assert_int_eq(pb_span_run(NULL, 0, 0, UINT64_MAX, &end), -1);
	ck_assert_uint_eq(end, UINT64_MAX);
	/* A later span that begins before an earlier one ends where that begins. */
	ck_assert_int_eq(pb_span_run((struct pb_span[]){ { .first = 5, .last = 6 },
							 { .first = 0, .last = 9 } },
				     2, 0, 20, &end),
			 1);
	ck_assert_uint_eq(end, 4);
}
END_TEST

/* Divide a line into runs, and compare each number with a search of all spans. */
START_TEST(runs_against_brute_force)
{
	unsigned int round, n, i;
	struct pb_span spans[6];

	srand(7);
	for (round = 0; round < 20000; round++) {
		uint64_t at, end, x;

		n = (unsigned int)rand() % 7;
		for (i = 0; i < n; i++) {
			spans[i].first = (uint64_t)rand() % 40;
			spans[i].last = spans[i].first + (uint64_t)rand() % 12;
		}
		for (at = 0;; at = end + 1) {
			int found = pb_span_run(spans, n, at, 45, &end);

			ck_assert(end >= at && end <= 45);
			for (x = at; x <= end; x++) {
				int first = -1;

				for (i = 0; i < n && first < 0; i++)
					if (x >= spans[i].first && x <= spans[i].last)
						first = (int)i;
				ck_assert_int_eq(first, found);
			}
			if (end == 45)
				break;
		}
	}
}
END_TEST

void add_guest_layout_tests(TCase *t)
{
	tcase_add_test(t, what_a_bar_claims);
	tcase_add_test(t, runs_of_spans);
	tcase_add_test(t, runs_against_brute_force);
}
