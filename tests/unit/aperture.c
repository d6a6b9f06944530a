// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Holes and gaps in an address space. */
#include <stdlib.h>

#include "../sentence.h"
#include "importer.h"
#include "unit.h"

#define RANGES(...)                    \
	(const struct pb_iova_range[]) \
	{                              \
		__VA_ARGS__            \
	}

START_TEST(hole_first_fit)
{
	uint64_t iova;

	/* Empty. */
	ck_assert_int_eq(pb_find_hole(RANGES({ 0, UINT64_MAX }), 1, NULL, 0, 0x1000, 0x1000, 0x1000,
				      &iova),
			 0);
	ck_assert_uint_eq(iova, 0x1000);
	/* Exactly between two. */
	ck_assert_int_eq(pb_find_hole(RANGES({ 0, 0xffffff }), 1,
				      RANGES({ 0, 0x1fff }, { 0x4000, 0xffffff }), 2, 0, 0x2000,
				      0x1000, &iova),
			 0);
	ck_assert_uint_eq(iova, 0x2000);
	/* One page too small. */
	ck_assert_int_eq(pb_find_hole(RANGES({ 0, 0xffffff }), 1,
				      RANGES({ 0, 0x1fff }, { 0x4000, 0xffffff }), 2, 0, 0x3000,
				      0x1000, &iova),
			 -ENOSPC);
	/* Behind all, up to the last byte of the aperture. */
	ck_assert_int_eq(pb_find_hole(RANGES({ 0, 0xffff }), 1, RANGES({ 0, 0x7fff }), 1, 0, 0x8000,
				      0x1000, &iova),
			 0);
	ck_assert_uint_eq(iova, 0x8000);
}
END_TEST

START_TEST(hole_aligned)
{
	uint64_t iova;

	ck_assert_int_eq(pb_find_hole(RANGES({ 0, UINT64_MAX }), 1, RANGES({ 0x200000, 0x200fff }),
				      1, 0x1000, 0x200000, 0x200000, &iova),
			 0);
	ck_assert_uint_eq(iova, 0x400000);
	/* Aligning must not wrap around. */
	ck_assert_int_eq(pb_find_hole(RANGES({ UINT64_MAX - 0xfff, UINT64_MAX }), 1, NULL, 0,
				      UINT64_MAX - 5, 1, 0x1000, &iova),
			 -ENOSPC);
}
END_TEST

START_TEST(hole_in_a_torn_aperture)
{
	uint64_t iova;

	/*
	 * The second range, because the first is too small. The gap, e.g. the MSI window, is not
	 * used.
	 */
	ck_assert_int_eq(pb_find_hole(RANGES({ 0, 0xfedfffff }, { 0xfef00000, UINT64_MAX >> 16 }),
				      2, RANGES({ 0, 0xfecfffff }), 1, 0x1000, 0x200000, 0x1000,
				      &iova),
			 0);
	ck_assert_uint_eq(iova, 0xfef00000);
	/* The whole 64-bit space is in use. */
	ck_assert_int_eq(pb_find_hole(RANGES({ 0, UINT64_MAX }), 1, RANGES({ 0, UINT64_MAX }), 1, 0,
				      0x1000, 0x1000, &iova),
			 -ENOSPC);
	/* No aperture. */
	ck_assert_int_eq(pb_find_hole(NULL, 0, NULL, 0, 0, 0x1000, 0x1000, &iova), -ENOSPC);
}
END_TEST

/* Compare with a search that tries every page. */
START_TEST(hole_against_brute_force)
{
	unsigned int seed = 42, round;

	for (round = 0; round < 20000; round++) {
		struct pb_iova_range aperture[2], taken[6];
		uint64_t at = 0, length, alignment, from, iova = 0, want = UINT64_MAX, p;
		unsigned int i, n = rand_r(&seed) % 6;

		aperture[0].first = (uint64_t)(rand_r(&seed) % 4) * 0x1000;
		aperture[0].last = aperture[0].first + (uint64_t)(1 + rand_r(&seed) % 30) * 0x1000 -
			1;
		aperture[1].first = aperture[0].last + 1 + (uint64_t)(rand_r(&seed) % 4) * 0x1000;
		aperture[1].last = aperture[1].first + (uint64_t)(1 + rand_r(&seed) % 30) * 0x1000 -
			1;
		for (i = 0; i < n; i++) {
			taken[i].first = at + (uint64_t)(rand_r(&seed) % 6) * 0x1000;
			taken[i].last = taken[i].first +
				(uint64_t)(1 + rand_r(&seed) % 6) * 0x1000 - 1;
			at = taken[i].last + 1;
		}
		length = (uint64_t)(1 + rand_r(&seed) % 8) * 0x1000;
		alignment = 0x1000ULL << rand_r(&seed) % 4;
		from = (uint64_t)(rand_r(&seed) % 20) * 0x1000;
		for (p = 0; p < 0x80000 && want == UINT64_MAX; p += 0x1000) {
			bool fits = !(p & (alignment - 1)) && p >= from &&
				((p >= aperture[0].first && p + length - 1 <= aperture[0].last) ||
				 (p >= aperture[1].first && p + length - 1 <= aperture[1].last));

			for (i = 0; fits && i < n; i++)
				fits = p > taken[i].last || p + length - 1 < taken[i].first;
			if (fits)
				want = p;
		}
		if (want == UINT64_MAX) {
			ck_assert_int_eq(pb_find_hole(aperture, 2, taken, n, from, length,
						      alignment, &iova),
					 -ENOSPC);
		} else {
			ck_assert_int_eq(pb_find_hole(aperture, 2, taken, n, from, length,
						      alignment, &iova),
					 0);
			ck_assert_uint_eq(iova, want);
		}
	}
}
END_TEST

START_TEST(gaps_of_an_aperture)
{
	const struct pb_iova_range two[] = {
		{ 0x1000, 0xfedfffff },
		{ 0xfef00000, 0x7fffffffff },
	};
	struct pb_iova_range gap;

	ck_assert(!pb_find_gap(two, 2, 0x1000, 0xfedfffff, &gap));
	ck_assert(!pb_find_gap(two, 2, 0x5000, 0x5fff, &gap));
	ck_assert(!pb_find_gap(two, 2, 0xfef00000, 0x7fffffffff, &gap));
	ck_assert(pb_find_gap(two, 2, 0, 0, &gap));
	ck_assert_uint_eq(gap.first, 0);
	ck_assert_uint_eq(gap.last, 0xfff);
	ck_assert(pb_find_gap(two, 2, 0x1000, UINT64_MAX, &gap));
	ck_assert_uint_eq(gap.first, 0xfee00000);
	ck_assert_uint_eq(gap.last, 0xfeefffff);
	ck_assert(pb_find_gap(two, 2, 0xfee00000, 0xfee00000, &gap));
	ck_assert_uint_eq(gap.first, 0xfee00000);
	ck_assert(pb_find_gap(two, 2, 0xfef00000, 0x8000000000, &gap));
	ck_assert_uint_eq(gap.first, 0x8000000000);
	ck_assert_uint_eq(gap.last, UINT64_MAX);
	ck_assert(pb_find_gap(two, 2, 1ULL << 62, 1ULL << 63, &gap));
	ck_assert_uint_eq(gap.first, 0x8000000000);
	/* An aperture of everything, of nothing, and of adjacent ranges. */
	ck_assert(!pb_find_gap((struct pb_iova_range[]){ { 0, UINT64_MAX } }, 1, 0, UINT64_MAX,
			       &gap));
	ck_assert(pb_find_gap(NULL, 0, 5, 5, &gap));
	ck_assert(!gap.first && gap.last == UINT64_MAX);
	ck_assert(!pb_find_gap((struct pb_iova_range[]){ { 0, 9 }, { 10, 20 } }, 2, 5, 15, &gap));
}
END_TEST

void add_aperture_tests(TCase *t)
{
	tcase_add_test(t, hole_first_fit);
	tcase_add_test(t, hole_aligned);
	tcase_add_test(t, hole_in_a_torn_aperture);
	tcase_add_test(t, hole_against_brute_force);
	tcase_add_test(t, gaps_of_an_aperture);
}
