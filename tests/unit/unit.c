// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What can be tested without a machine: parsing, searching, refusing, and the errors of calls that need no device. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../sentence.h"
#include "internal.h"
#include "parse.h"

static struct pb_error err;

/* ---- errors ---- */

START_TEST(errors_are_sentences)
{
	char longer[600];

	ck_assert_int_eq(pb_fail(&err, EINVAL, "the number %d is wrong", 7), -EINVAL);
	ck_assert_int_eq(err.code, EINVAL);
	ck_assert_str_eq(err.text, "the number 7 is wrong");
	ck_assert_int_eq(pb_fail_errno(&err, ENOENT, "cannot open it"), -ENOENT);
	ck_assert_str_eq(err.text, "cannot open it: No such file or directory");
	/* nobody need ask for the text */
	ck_assert_int_eq(pb_fail(NULL, EIO, "x"), -EIO);
	ck_assert_int_eq(pb_fail_errno(NULL, EIO, "x"), -EIO);
	/* what is too long is cut, not written behind the end */
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	ck_assert_int_eq(pb_fail_errno(&err, EIO, "%s", longer), -EIO);
	ck_assert_uint_eq(strlen(err.text), sizeof(err.text) - 1);
}
END_TEST

/* ---- models ---- */

START_TEST(model_of_exporters)
{
	ck_assert_int_eq(pb_exporter_model("vfio_pci_core"), PB_REVOCABLE);
	ck_assert_int_eq(pb_exporter_model("udmabuf"), PB_PINNED);
	ck_assert_int_eq(pb_exporter_model("system"), PB_PINNED);
	/* a guess is no answer: neither for strangers, nor for those who share a name, nor for what only looks like a known one */
	ck_assert_int_eq(pb_exporter_model("drm"), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model("stranger"), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model("vfio_pci_core2"), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model("udma"), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model(""), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model(NULL), PB_UNKNOWN);
}
END_TEST

START_TEST(model_names)
{
	ck_assert_str_eq(pb_model_name(PB_PINNED), "PINNED");
	ck_assert_str_eq(pb_model_name(PB_REVOCABLE), "REVOCABLE");
	ck_assert_str_eq(pb_model_name(PB_DYNAMIC), "DYNAMIC");
	ck_assert_str_eq(pb_model_name(PB_UNKNOWN), "UNKNOWN");
	ck_assert_str_eq(pb_model_name((enum pb_model)77), "UNKNOWN");
}
END_TEST

START_TEST(model_refusals)
{
	ck_assert_int_eq(pb_model_accept(PB_PINNED, false, "udmabuf", &err), 0);
	ck_assert_int_eq(pb_model_accept(PB_REVOCABLE, false, "vfio_pci_core", &err), 0);
	refused(pb_model_accept(PB_DYNAMIC, false, "mover", &err), EOPNOTSUPP, "DYNAMIC");
	/* insisting helps for what is not known, not for what is known to move */
	refused(pb_model_accept(PB_DYNAMIC, true, "mover", &err), EOPNOTSUPP, "mover");
	refused(pb_model_accept(PB_UNKNOWN, false, "drm", &err), EOPNOTSUPP, "UNKNOWN");
	ck_assert_int_eq(pb_model_accept(PB_UNKNOWN, true, "drm", &err), 0);
}
END_TEST

/*
 * A DYNAMIC exporter is not to be had on a stock kernel, so this is the one place with a buffer made up by hand: the refusal must come
 * before anything is asked of the kernel. The descriptors are invalid, and so is the context; any use of them would show.
 */
START_TEST(dynamic_is_refused_before_anything_else)
{
	struct pb_piece piece = { .fd = -1, .size = 0x10000 };
	struct pb_dmabuf dmabuf = { .fd = -1, .fdinfo = { .size = 0x10000, .exporter = "mover" }, .model = PB_DYNAMIC,
				    .pieces = &piece, .nr_pieces = 1 };
	struct pb_buffer buffer = { &dmabuf };
	struct pb_iommu iommu = { .fd = -1 };
	struct pb_ioas ioas = { .iommu = &iommu };
	struct pb_mapping *mapping = NULL;

	refused(pb_map_buffer(&ioas, &buffer, 0, 0, PB_MAP_READ, 0, &mapping, &err), EOPNOTSUPP, "DYNAMIC");
	refused(pb_map_buffer(&ioas, &buffer, 0, 0, PB_MAP_READ | PB_MAP_UNKNOWN_MODEL, 0, &mapping, &err), EOPNOTSUPP, "DYNAMIC");
	dmabuf.model = PB_UNKNOWN;
	refused(pb_map_buffer(&ioas, &buffer, 0, 0, PB_MAP_READ, 0, &mapping, &err), EOPNOTSUPP, "PB_MAP_UNKNOWN_MODEL");
	ck_assert_ptr_null(mapping);
}
END_TEST

/* ---- fdinfo ---- */

START_TEST(fdinfo_of_a_dmabuf)
{
	struct pb_fdinfo info;

	pb_parse_fdinfo("pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t3\nsize:\t2097152\ncount:\t1\nexp_name:\tvfio_pci_core\n"
			"name:\t0000:01:00.0 BAR 2\n", &info);
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

/* the name is the holder's to choose, newlines included: it must not pass for what the kernel says */
START_TEST(fdinfo_with_a_forged_name)
{
	struct pb_fdinfo info;

	pb_parse_fdinfo("size:\t4096\ncount:\t1\nexp_name:\txe\nname:\tx\nexp_name:\tudmabuf\nsize:\t1\n", &info);
	ck_assert(info.is_dmabuf);
	ck_assert_str_eq(info.exporter, "xe");
	ck_assert_uint_eq(info.size, 4096);
	/* longer than there is room for */
	pb_parse_fdinfo("size:\t4096\nexp_name:\tabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz\n", &info);
	ck_assert_uint_eq(strlen(info.exporter), sizeof(info.exporter) - 1);
}
END_TEST

/* ---- PCI addresses ---- */

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
	static const char *const bad[] = { "", "1", "01:00", "01:00.8", "01:20.0", "0000:01:00.0x", "0000:01:00.0/..", " 01:00.0",
					   "01:00.0 ", "-1:00.0", "0x1:00.0", "../../etc", "0000:001:00.0", "100000000:01:00.0", "01:00.00" };
	char bdf[PB_BDF_LEN];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refused(pb_parse_bdf(bad[i], bdf, &err), EINVAL, "no PCI address");
	refused(pb_parse_bdf(NULL, bdf, &err), EINVAL, "no PCI address");
}
END_TEST

/* ---- room ---- */

#define RANGES(...) (const struct pb_iova_range[]){ __VA_ARGS__ }

START_TEST(hole_first_fit)
{
	uint64_t iova;

	/* empty */
	ck_assert_int_eq(pb_find_hole(RANGES({ 0, UINT64_MAX }), 1, NULL, 0, 0x1000, 0x1000, 0x1000, &iova), 0);
	ck_assert_uint_eq(iova, 0x1000);
	/* between two, exactly */
	ck_assert_int_eq(pb_find_hole(RANGES({ 0, 0xffffff }), 1, RANGES({ 0, 0x1fff }, { 0x4000, 0xffffff }), 2, 0, 0x2000, 0x1000,
				      &iova), 0);
	ck_assert_uint_eq(iova, 0x2000);
	/* one page too small */
	ck_assert_int_eq(pb_find_hole(RANGES({ 0, 0xffffff }), 1, RANGES({ 0, 0x1fff }, { 0x4000, 0xffffff }), 2, 0, 0x3000, 0x1000,
				      &iova), -ENOSPC);
	/* behind all, up to the last byte of the aperture */
	ck_assert_int_eq(pb_find_hole(RANGES({ 0, 0xffff }), 1, RANGES({ 0, 0x7fff }), 1, 0, 0x8000, 0x1000, &iova), 0);
	ck_assert_uint_eq(iova, 0x8000);
}
END_TEST

START_TEST(hole_aligned)
{
	uint64_t iova;

	ck_assert_int_eq(pb_find_hole(RANGES({ 0, UINT64_MAX }), 1, RANGES({ 0x200000, 0x200fff }), 1, 0x1000, 0x200000, 0x200000, &iova),
			 0);
	ck_assert_uint_eq(iova, 0x400000);
	/* aligning must not wrap around */
	ck_assert_int_eq(pb_find_hole(RANGES({ UINT64_MAX - 0xfff, UINT64_MAX }), 1, NULL, 0, UINT64_MAX - 5, 1, 0x1000, &iova), -ENOSPC);
}
END_TEST

START_TEST(hole_in_a_torn_aperture)
{
	uint64_t iova;

	/* the second range, because the first is too small; the gap (as the MSI window) is left alone */
	ck_assert_int_eq(pb_find_hole(RANGES({ 0, 0xfedfffff }, { 0xfef00000, UINT64_MAX >> 16 }), 2, RANGES({ 0, 0xfecfffff }), 1, 0x1000,
				      0x200000, 0x1000, &iova), 0);
	ck_assert_uint_eq(iova, 0xfef00000);
	/* the whole 64-bit space is taken */
	ck_assert_int_eq(pb_find_hole(RANGES({ 0, UINT64_MAX }), 1, RANGES({ 0, UINT64_MAX }), 1, 0, 0x1000, 0x1000, &iova), -ENOSPC);
	/* no aperture */
	ck_assert_int_eq(pb_find_hole(NULL, 0, NULL, 0, 0, 0x1000, 0x1000, &iova), -ENOSPC);
}
END_TEST

/* against a search that tries every page */
START_TEST(hole_against_brute_force)
{
	unsigned int seed = 42, round;

	for (round = 0; round < 20000; round++) {
		struct pb_iova_range aperture[2], taken[6];
		uint64_t at = 0, length, alignment, from, iova = 0, want = UINT64_MAX, p;
		unsigned int i, n = rand_r(&seed) % 6;

		aperture[0].first = (uint64_t)(rand_r(&seed) % 4) * 0x1000;
		aperture[0].last = aperture[0].first + (uint64_t)(1 + rand_r(&seed) % 30) * 0x1000 - 1;
		aperture[1].first = aperture[0].last + 1 + (uint64_t)(rand_r(&seed) % 4) * 0x1000;
		aperture[1].last = aperture[1].first + (uint64_t)(1 + rand_r(&seed) % 30) * 0x1000 - 1;
		for (i = 0; i < n; i++) {
			taken[i].first = at + (uint64_t)(rand_r(&seed) % 6) * 0x1000;
			taken[i].last = taken[i].first + (uint64_t)(1 + rand_r(&seed) % 6) * 0x1000 - 1;
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
			ck_assert_int_eq(pb_find_hole(aperture, 2, taken, n, from, length, alignment, &iova), -ENOSPC);
		} else {
			ck_assert_int_eq(pb_find_hole(aperture, 2, taken, n, from, length, alignment, &iova), 0);
			ck_assert_uint_eq(iova, want);
		}
	}
}
END_TEST

/* ---- calls that need no device ---- */

START_TEST(descriptors_that_are_no_buffers)
{
	struct pb_buffer *buffer = NULL;
	int fd;

	refused(pb_buffer_from_fd(-1, &buffer, &err), EBADF, "not open");
	refused(pb_buffer_from_fd(12345, &buffer, &err), EBADF, "12345");
	fd = memfd_create("x", MFD_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	refused(pb_buffer_from_fd(fd, &buffer, &err), EINVAL, "no dma-buf");
	close(fd);
	ck_assert_ptr_null(buffer);
}
END_TEST

START_TEST(descriptors_that_are_no_iommufd)
{
	struct pb_iommu *iommu = NULL;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	refused(pb_iommu_from_fd(-1, &iommu, &err), EBADF, "not open");
	refused(pb_iommu_from_fd(fd, &iommu, &err), EINVAL, "no iommufd");
	close(fd);
	ck_assert_ptr_null(iommu);
}
END_TEST

START_TEST(null_objects_can_be_freed)
{
	pb_buffer_close(NULL);
	pb_device_close(NULL);
	pb_ioas_destroy(NULL);
	pb_iommu_close(NULL);
	ck_assert_int_eq(pb_unmap(NULL, &err), 0);
}
END_TEST

START_TEST(version)
{
	ck_assert_str_eq(pb_version(), PACKAGE_VERSION);
}
END_TEST

/* ---- what the tool reads from its command line ---- */

START_TEST(numbers_good)
{
	static const struct {
		const char *text;
		uint64_t value;
	} good[] = { { "0", 0 }, { "4096", 4096 }, { "0x1000", 4096 }, { "4K", 4096 }, { "2M", 2 << 20 }, { "1G", 1 << 30 },
		     { "0xffffffffffffffff", UINT64_MAX }, { "18446744073709551615", UINT64_MAX } };
	char why[200];
	uint64_t v;
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ck_assert_msg(!pbt_parse_number(good[i].text, &v, why, sizeof(why)), "%s: %s", good[i].text, why);
		ck_assert_uint_eq(v, good[i].value);
	}
}
END_TEST

START_TEST(numbers_bad)
{
	static const char *const bad[] = { "", "-1", "+1", " 1", "1 ", "x", "0x", "1Q", "1KK", "18446744073709551616", "17179869184G",
					   "0x10000000000000000", "1e3", "1.5M" };
	char why[200];
	uint64_t v;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why[0] = '\0';
		ck_assert_msg(pbt_parse_number(bad[i], &v, why, sizeof(why)) != 0, "'%s' was taken for a number", bad[i]);
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
		ck_assert_msg(pbt_parse_range(bad[i], &r, why, sizeof(why)) != 0, "'%s' was taken for a range", bad[i]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("unit");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 120); /* valgrind */
	tcase_add_test(t, errors_are_sentences);
	tcase_add_test(t, model_of_exporters);
	tcase_add_test(t, model_names);
	tcase_add_test(t, model_refusals);
	tcase_add_test(t, dynamic_is_refused_before_anything_else);
	tcase_add_test(t, fdinfo_of_a_dmabuf);
	tcase_add_test(t, fdinfo_of_something_else);
	tcase_add_test(t, fdinfo_with_a_forged_name);
	tcase_add_test(t, bdf_good);
	tcase_add_test(t, bdf_bad);
	tcase_add_test(t, hole_first_fit);
	tcase_add_test(t, hole_aligned);
	tcase_add_test(t, hole_in_a_torn_aperture);
	tcase_add_test(t, hole_against_brute_force);
	tcase_add_test(t, null_objects_can_be_freed);
	tcase_add_test(t, version);
	tcase_add_test(t, numbers_good);
	tcase_add_test(t, numbers_bad);
	tcase_add_test(t, ranges);
	suite_add_tcase(s, t);
	/* by themselves, because valgrind finds fault with any use of a descriptor that is not open */
	t = tcase_create("descriptors");
	tcase_add_test(t, descriptors_that_are_no_buffers);
	tcase_add_test(t, descriptors_that_are_no_iommufd);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
