// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Calls that need peerbar-vfio-pci, arguments of mmap, and permanent revocation. */
#include <sys/mman.h>
#include <unistd.h>

#include "../sentence.h"
#include "importer.h"
#include "unit.h"

/*
 * An empty file instead of a VFIO device: it supports no ioctl, like another driver that lacks
 * peerbar's.
 */
static void make_device(struct pb_device *device)
{
	memset(device, 0, sizeof(*device));
	device->fd = memfd_create("device", MFD_CLOEXEC);
	ck_assert_int_ge(device->fd, 0);
	strcpy(device->bdf, "0000:01:00.0");
	device->nr_regions = PB_BARS;
	device->regions[2].size = 1 << 20;
	device->memory_bar[2] = true;
}

START_TEST(refusals_name_the_driver)
{
	static const char how[] = "peerbar bind --driver peerbar-vfio-pci 0000:01:00.0";
	struct pb_origin *origin = pb_origin_new("0000:01:00.0");
	struct pb_dmabuf dmabuf = { .fd = 0, .info = { .size = 0x10000 }, .origin = origin };
	struct pb_buffer buffer = { &dmabuf };
	enum pb_memattr wc = PB_WC;
	struct pb_device device;
	uint64_t cookie = 7;

	make_device(&device);
	refused(pb_buffer_revoke(&device, &buffer, &err), EOPNOTSUPP, how);
	ck_assert(!dmabuf.dead);
	refused(pb_buffer_set_memattr(&device, &buffer, &wc, 1, NULL, &err), EOPNOTSUPP, how);
	refused(pb_buffer_memattr(&device, &buffer, &wc, &err), EOPNOTSUPP, how);
	refused(pb_device_mmap_cookie(&device, 2, 0, 0x1000, PB_WC, &cookie, &err), EOPNOTSUPP,
		how);
	ck_assert_int_eq(wc, PB_WC);
	ck_assert_uint_eq(cookie, 7);
	pb_origin_put(origin);
	close(device.fd);
}
END_TEST

START_TEST(wrong_arguments_for_mmap)
{
	uint64_t page = pb_page_size();
	struct pb_dmabuf dmabuf = {
		.fd = -1,
		.info = { .size = 4 * page },
	};
	struct pb_buffer buffer = { &dmabuf };
	struct pb_device device;
	uint64_t cookie;
	void *p;

	refused(pb_buffer_mmap(&buffer, 1, page, false, &p, &err), EINVAL,
		"multiple of the page size");
	refused(pb_buffer_mmap(&buffer, 0, 0, false, &p, &err), EINVAL, "length not 0");
	refused(pb_buffer_mmap(&buffer, 0, 4 * page + 1, false, &p, &err), ERANGE,
		"its size is 0x");
	refused(pb_buffer_mmap(&buffer, 4 * page, 1, false, &p, &err), ERANGE, "its size is 0x");
	refused(pb_buffer_mmap(&buffer, UINT64_MAX - page + 1, page, false, &p, &err), ERANGE,
		"its size is 0x");
	make_device(&device);
	refused(pb_buffer_set_memattr(&device, &buffer, NULL, 0, NULL, &err), EINVAL,
		"no attribute");
	refused(pb_device_mmap_cookie(&device, 6, 0, page, PB_NC, &cookie, &err), EINVAL,
		"BARs 0 to 5");
	refused(pb_device_mmap_cookie(&device, 1, 0, page, PB_NC, &cookie, &err), ENODEV,
		"no such BAR");
	refused(pb_device_mmap_cookie(&device, 2, 1, page, PB_NC, &cookie, &err), EINVAL,
		"cannot make a cookie for range 0");
	refused(pb_device_mmap_cookie(&device, 2, 0, 0, PB_NC, &cookie, &err), EINVAL,
		"its length is 0");
	refused(pb_device_mmap_cookie(&device, 2, 1 << 20, page, PB_NC, &cookie, &err), ERANGE,
		"beyond the BAR");
	refused(pb_device_mmap_cookie(&device, 2, page, -page, PB_NC, &cookie, &err), EOVERFLOW,
		"2^64");
	refused(pb_device_mmap_at(&device, 0, 0, false, &p, &err), EINVAL, "length must not be 0");
	refused(pb_device_mmap_at(&device, 1, page, false, &p, &err), EINVAL,
		"no cookie of this device");
	close(device.fd);
}
END_TEST

/* A permanent revoke of a buffer revokes its mappings, also later ones, and no others. */
START_TEST(the_end_of_a_buffer)
{
	struct pb_origin *origin = pb_origin_new("");
	struct pb_ioas ioas = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct pb_dmabuf one = { .origin = origin }, other = { .origin = origin };
	struct pb_mapping mappings[] = {
		{ .ioas = &ioas, .events = &ioas.events, .dmabuf = &one },
		{ .ioas = &ioas, .events = &ioas.events, .dmabuf = &other },
		{ .ioas = &ioas, .events = &ioas.events, .dmabuf = &one },
	};
	unsigned int i;

	ck_assert_int_eq(pb_mapping_events_init(&ioas.events), 0);
	pb_origin_watch(origin, &mappings[0], pb_origin_get_revocations(origin));
	pb_origin_watch(origin, &mappings[1], pb_origin_get_revocations(origin));
	pb_dmabuf_mark_dead(&one);
	ck_assert_int_eq(pb_mapping_state(&mappings[0]), PB_REVOKED);
	ck_assert_int_eq(pb_mapping_state(&mappings[1]), PB_LIVE);
	pb_origin_watch(origin, &mappings[2], pb_origin_get_revocations(origin));
	ck_assert_int_eq(pb_mapping_state(&mappings[2]), PB_REVOKED);
	ck_assert_ptr_eq(pb_ioas_next_revoked(&ioas), &mappings[0]);
	ck_assert_ptr_eq(pb_ioas_next_revoked(&ioas), &mappings[2]);
	ck_assert_ptr_null(pb_ioas_next_revoked(&ioas));
	for (i = 0; i < 3; i++)
		pb_origin_unwatch(origin, &mappings[i]);
	pb_origin_put(origin);
	pb_mapping_events_destroy(&ioas.events);
}
END_TEST

void add_vfio_feature_tests(TCase *t)
{
	tcase_add_test(t, refusals_name_the_driver);
	tcase_add_test(t, wrong_arguments_for_mmap);
	tcase_add_test(t, the_end_of_a_buffer);
}
