// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What depends on the page size, for 4, 16 and 64 KiB, whichever this machine has. */
#include "guest-state.h"
#include "importer.h"
#include "internal.h"
#include "unit.h"

#define KIB 1024ULL
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

static const struct {
	uint64_t page, middle, large;
} sizes[] = {
	{ 4 * KIB, 2 * MIB, GIB },
	{ 16 * KIB, 32 * MIB, 64 * GIB },
	{ 64 * KIB, 512 * MIB, 4096 * GIB },
};

#define NR_SIZES (sizeof(sizes) / sizeof(sizes[0]))

START_TEST(huge_pages)
{
	const uint64_t page = sizes[_i].page, middle = sizes[_i].middle, large = sizes[_i].large;

	ck_assert_uint_eq(pb_large_page_size(page, page), 0);
	ck_assert_uint_eq(pb_large_page_size(middle - 1, page), 0);
	ck_assert_uint_eq(pb_large_page_size(middle, page), middle);
	ck_assert_uint_eq(pb_large_page_size(large - 1, page), middle);
	ck_assert_uint_eq(pb_large_page_size(large, page), large);
	ck_assert_uint_eq(pb_large_page_size(UINT64_MAX, page), large);
}
END_TEST

/* A BAR that is smaller than a page, wherever it is in the page, claims all of it. */
START_TEST(bars_smaller_than_a_page)
{
	const uint64_t page = sizes[_i].page, at = 0x10000000;
	uint64_t size, offset;
	struct pb_span claim;

	for (size = 256; size <= 2 * page; size *= 2) {
		for (offset = 0; offset < page; offset += size) {
			ck_assert(pb_bar_claim(at + offset, size, false, page, &claim));
			ck_assert_uint_eq(claim.first, at);
			ck_assert_uint_eq(claim.last, at + (size > page ? size : page) - 1);
		}
	}
}
END_TEST

/* A hole between what other hosts' pages would allow is none. */
START_TEST(holes_of_whole_pages)
{
	const uint64_t page = sizes[_i].page;
	const struct pb_iova_range aperture = { 0, 16 * page - 1 };
	const struct pb_iova_range taken[] = {
		{ 0, page / 4 - 1 },
		{ page + page / 2, 2 * page - 1 },
		{ 3 * page, 4 * page - 1 },
	};
	uint64_t iova;

	ck_assert_int_eq(pb_find_hole(&aperture, 1, taken, 3, 0, page, page, &iova), 0);
	ck_assert_uint_eq(iova, 2 * page);
	ck_assert_int_eq(pb_find_hole(&aperture, 1, taken, 3, 0, 2 * page, page, &iova), 0);
	ck_assert_uint_eq(iova, 4 * page);
}
END_TEST

START_TEST(alignment)
{
	const uint64_t page = sizes[_i].page;

	ck_assert(pb_aligned(0, page) && pb_aligned(7 * page, page));
	ck_assert(!pb_aligned(page / 2, page) && !pb_aligned(page + 1, page));
}
END_TEST

void add_page_tests(TCase *t)
{
	tcase_add_loop_test(t, huge_pages, 0, NR_SIZES);
	tcase_add_loop_test(t, bars_smaller_than_a_page, 0, NR_SIZES);
	tcase_add_loop_test(t, holes_of_whole_pages, 0, NR_SIZES);
	tcase_add_loop_test(t, alignment, 0, NR_SIZES);
}
