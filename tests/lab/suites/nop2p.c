// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A kernel without PCI_P2PDMA: buffers can be exported, and mapped by processes, but no peer can
 * attach. Runs on that kernel only.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "modules.h"
#include "testmod.h"
#include "uapi.h"

static void nop2p_up(void)
{
	module_load("peerbar-vfio-pci");
	module_load("peerbar-test-importer");
	setenv("LAB_DRIVER", "peerbar-vfio-pci", 1);
	fixture_up();
}

static void lands(uint8_t *p, uint64_t offset, uint32_t seed)
{
	uint8_t bytes[64];

	lab_pattern(bytes, sizeof(bytes), seed);
	lab_copy(p, bytes, sizeof(bytes));
	ck_assert(lab_host_sees(offset, bytes, sizeof(bytes)));
}

START_TEST(what_it_is)
{
	struct peerbar_info info = { .size = sizeof(info) };
	int dev = open("/dev/peerbar", O_RDWR | O_CLOEXEC);

	ck_assert_int_eq(ioctl(dev, PEERBAR_INFO, &info), 0);
	ck_assert_uint_eq(info.caps, PEERBAR_CAP_VFIO | PEERBAR_CAP_PAGE | PEERBAR_CAP_IMPORTERS);
	close(dev);
	/* There is no iommufd to support, so the module does not load. */
	ck_assert_int_ne(system("modprobe -q peerbar-iommufd 2>/dev/null"), 0);
}
END_TEST

START_TEST(exported_and_mapped)
{
	const struct pb_range ranges[] = {
		{ 4 * MIB, 2 * PAGE },
		{ 0, PAGE },
	};
	struct pb_buffer *buffer = export_ranges(ranges, 2);
	int fd = pb_buffer_fd(buffer);
	uint8_t *p = map_fd(fd, 0, 3 * PAGE);
	int child;

	ck_assert_ptr_nonnull(p);
	lands(p + PAGE, 4 * MIB + PAGE, 1);
	lands(p + 2 * PAGE, 0, 2);
	ck_assert_ptr_null(map_fd(fd, 0, 4 * PAGE));
	state_is(fd, PEERBAR_STATE_LIVE);
	ck_assert_uint_eq(query(fd).model, PEERBAR_MODEL_REVOCABLE);
	child = fork();
	if (!child)
		_exit(can_write(p, 0x42) ? 0 : 1);
	ck_assert_int_eq(wait_for(child), 0);
	ck_assert(lab_host_sees(4 * MIB, "\x42", 1));
	munmap(p, 3 * PAGE);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(nobody_attaches)
{
	struct pb_buffer *buffer = export_one(0, PAGE);
	struct pb_mapping *m = NULL;
	int importer = test_importer_open();

	ck_assert_int_eq(test_import_attach(importer, pb_buffer_fd(buffer),
					    PEERBAR_TEST_KIND_REVOCABLE, 0, lab_bdf(LAB_NIC)),
			 -EOPNOTSUPP);
	ck_assert_int_eq(test_import_attach(importer, pb_buffer_fd(buffer),
					    PEERBAR_TEST_KIND_DYNAMIC, 0, NULL),
			 -EOPNOTSUPP);
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW, 0, &m, &err), EOPNOTSUPP,
		"peerbar-iommufd");
	ck_assert_uint_eq(query(pb_buffer_fd(buffer)).importers, 0);
	close(importer);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(revoked_and_restored)
{
	struct pb_buffer *buffer = export_one(MIB, 4 * MIB);
	int fd = pb_buffer_fd(buffer);
	uint8_t *p = map_fd_aligned(fd, 0, 4 * MIB, 2 * MIB, 0), *wc;
	struct peerbar_test_pte pte;
	int round;

	ck_assert_int_eq(feature_set_memattr(fixture.gpu, fd, PEERBAR_MEMATTR_WC), 0);
	wc = map_fd(fd, 0, PAGE);
	for (round = 0; round < 3; round++) {
		lands(p, MIB, (uint32_t)round);
		ck_assert(can_read(wc, NULL));
		ck_assert(page_table(wc, &pte) && pte.cache == PEERBAR_TEST_CACHE_WC);
		ok(pb_device_set_decoding(fixture.gpu, false, &err));
		ck_assert(!page_table(p, &pte) && !page_table(wc, &pte));
		ck_assert(!can_read(p, NULL) && !can_read(wc, NULL));
		state_is(fd, PEERBAR_STATE_REVOKED);
		ok(pb_device_set_decoding(fixture.gpu, true, &err));
		state_is(fd, PEERBAR_STATE_LIVE);
	}
	if (!lab_has_no_reset()) {
		lands(p, MIB, 10);
		ok(pb_device_reset(fixture.gpu, &err));
		ck_assert(!page_table(p, &pte));
		ok(pb_device_set_decoding(fixture.gpu, true, &err));
		lands(p, MIB, 11);
	}
	munmap(wc, PAGE);
	munmap(p, 4 * MIB);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(revoked_for_good)
{
	struct pb_buffer *buffer = export_one(MIB, 2 * PAGE), *second;
	int fd = pb_buffer_fd(buffer);
	uint8_t *p = map_fd(fd, 0, 2 * PAGE), *q;

	lands(p, MIB, 1);
	ck_assert_int_eq(feature_revoke(fixture.gpu, fd), 0);
	ck_assert(!can_read(p, NULL));
	ck_assert_ptr_null(map_fd(fd, 0, PAGE));
	ck_assert_int_eq(errno, ENODEV);
	state_is(fd, PEERBAR_STATE_DEAD);
	second = export_one(MIB, PAGE);
	q = map_fd(pb_buffer_fd(second), 0, PAGE);
	lands(q, MIB, 2);
	ck_assert(!can_read(p, NULL));
	/* Closing the device revokes all its buffers. */
	pb_device_close(fixture.gpu);
	ck_assert(!can_read(q, NULL));
	state_is(pb_buffer_fd(second), PEERBAR_STATE_DEAD);
	munmap(p, 2 * PAGE);
	munmap(q, PAGE);
	pb_buffer_close(buffer);
	pb_buffer_close(second);
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
}
END_TEST

START_TEST(a_cookie)
{
	uint64_t at;
	uint8_t *p;

	ck_assert_int_eq(feature_cookie(fixture.gpu, GPU_BAR, MIB, 2 * PAGE, PEERBAR_MEMATTR_NC,
					&at),
			 0);
	p = map_fd(pb_device_fd(fixture.gpu), at, 2 * PAGE);
	ck_assert_ptr_nonnull(p);
	lands(p + PAGE, MIB + PAGE, 1);
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ck_assert(!can_read(p, NULL));
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	lands(p, MIB, 2);
	munmap(p, 2 * PAGE);
}
END_TEST

START_TEST(what_cannot_be_exported)
{
	const struct {
		uint64_t offset, length;
		int code;
	} bad[] = {
		{ 0, 0, EINVAL },
		{ 1, PAGE, EINVAL },
		{ 0, 100, EINVAL },
		{ 256 * MIB, PAGE, EINVAL },
		{ ~0ULL << 12, 2 * PAGE, EOVERFLOW },
	};
	struct {
		struct vfio_device_feature_dma_buf dma_buf;
		struct vfio_region_dma_range range;
	} request;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(&request, 0, sizeof(request));
		request.dma_buf.region_index = GPU_BAR;
		request.dma_buf.open_flags = O_RDWR | O_CLOEXEC;
		request.dma_buf.nr_ranges = 1;
		request.range.offset = bad[i].offset;
		request.range.length = bad[i].length;
		ck_assert_int_eq(feature(fixture.gpu, VFIO_DEVICE_FEATURE_GET,
					 VFIO_DEVICE_FEATURE_DMA_BUF, &request, sizeof(request)),
				 -bad[i].code);
	}
	request.range.offset = 0;
	request.range.length = PAGE;
	request.dma_buf.region_index = 7;
	ck_assert_int_eq(feature(fixture.gpu, VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_DMA_BUF,
				 &request, sizeof(request)),
			 -ENODEV);
}
END_TEST

LAB_SUITE("nop2p", SUITE_NOP2P)
{
	TCase *t = suite_case(s, "all", 60, nop2p_up, fixture_down);

	tcase_add_test(t, what_it_is);
	tcase_add_test(t, exported_and_mapped);
	tcase_add_test(t, nobody_attaches);
	tcase_add_test(t, revoked_and_restored);
	tcase_add_test(t, revoked_for_good);
	tcase_add_test(t, a_cookie);
	tcase_add_test(t, what_cannot_be_exported);
}
