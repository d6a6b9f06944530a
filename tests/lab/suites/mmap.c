// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * mmap of buffers: the bytes, the process, the attribute, the offset, and the name of the mapping.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kernel-exporters.h"
#include "modules.h"
#include "process-maps.h"
#include "testmod.h"
#include "uapi.h"

#define RANGES 3
static struct pb_range scattered[RANGES];

static struct pb_buffer *export_scattered(void)
{
	scattered[0] = (struct pb_range){ 4 * MIB, 2 * PAGE };
	scattered[1] = (struct pb_range){ 0, PAGE };
	scattered[2] = (struct pb_range){ 2 * MIB, 3 * PAGE };
	return export_ranges(scattered, RANGES);
}

/* Return the BAR offset of page @page of the scattered ranges. */
static uint64_t bar_offset_of(unsigned int page)
{
	unsigned int i;

	for (i = 0; i < RANGES; i++) {
		if (page < scattered[i].length / PAGE)
			return scattered[i].offset + page * PAGE;
		page -= (unsigned int)(scattered[i].length / PAGE);
	}
	ck_abort_msg("no such page");
}

/* Write to a page through a mapping, and check the BAR at @offset in the host's view. */
static void lands(uint8_t *p, uint64_t offset, uint32_t seed)
{
	uint8_t bytes[64];

	lab_pattern(bytes, sizeof(bytes), seed);
	lab_copy(p, bytes, sizeof(bytes));
	ck_assert_msg(lab_host_sees(offset, bytes, sizeof(bytes)),
		      "what was written does not show in the BAR at 0x%llx",
		      (unsigned long long)offset);
}

START_TEST(one_range)
{
	struct pb_buffer *buffer = export_one(4 * MIB, 4 * PAGE);
	int fd = pb_buffer_fd(buffer);
	uint8_t *p = map_fd(fd, 0, 4 * PAGE), *alias = map_fd(fd, 2 * PAGE, 2 * PAGE);
	uint8_t below[64], above[64], byte;
	unsigned int i;

	ck_assert_ptr_nonnull(p);
	ck_assert_ptr_nonnull(alias);
	lab_host_read(4 * MIB - sizeof(below), below, sizeof(below));
	lab_host_read(4 * MIB + 4 * PAGE, above, sizeof(above));
	for (i = 0; i < 4; i++)
		lands(p + i * PAGE, 4 * MIB + i * PAGE, i);
	lands(alias + PAGE, 4 * MIB + 3 * PAGE, 20);
	ck_assert_mem_eq(p + 3 * PAGE, alias + PAGE, 64);
	/* The neighbours are not changed. */
	ck_assert(can_read(p + 4 * PAGE - 1, &byte));
	ck_assert(lab_host_sees(4 * MIB - sizeof(below), below, sizeof(below)));
	ck_assert(lab_host_sees(4 * MIB + 4 * PAGE, above, sizeof(above)));
	/* The mapping keeps the buffer. */
	pb_buffer_close(buffer);
	lands(p, 4 * MIB, 30);
	munmap(p, 4 * PAGE);
	munmap(alias, 2 * PAGE);
}
END_TEST

START_TEST(several_ranges)
{
	struct pb_buffer *buffer = export_scattered();
	int fd = pb_buffer_fd(buffer);
	uint8_t *p = map_fd(fd, 0, 6 * PAGE), *middle = map_fd(fd, PAGE, 3 * PAGE);
	unsigned int i;

	ck_assert_ptr_nonnull(p);
	ck_assert_ptr_nonnull(middle);
	for (i = 0; i < 6; i++)
		lands(p + i * PAGE, bar_offset_of(i), i);
	/* A mapping that begins inside a range and ends inside another. */
	for (i = 0; i < 3; i++)
		lands(middle + i * PAGE, bar_offset_of(i + 1), 10 + i);
	munmap(p, 6 * PAGE);
	munmap(middle, 3 * PAGE);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(refused_mappings)
{
	struct pb_buffer *buffer = export_one(0, 4 * PAGE);
	int fd = pb_buffer_fd(buffer);

	ck_assert_ptr_eq(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0), MAP_FAILED);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_ptr_null(map_fd(fd, 0, 5 * PAGE));
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_ptr_null(map_fd(fd, 4 * PAGE, PAGE));
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_ptr_null(map_fd(fd, 3 * PAGE, 2 * PAGE));
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_ptr_null(map_fd(fd, 0x7ffffffffffff000, PAGE));
	ck_assert(errno == EINVAL || errno == EOVERFLOW);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(munmap_mremap_mprotect)
{
	struct pb_buffer *buffer = export_one(MIB, 8 * PAGE);
	uint8_t *p = map_fd(pb_buffer_fd(buffer), 0, 8 * PAGE), *moved;
	int child;

	ck_assert_ptr_nonnull(p);
	lands(p, MIB, 1);
	/* Unmap a hole. */
	ck_assert_int_eq(munmap(p + 2 * PAGE, PAGE), 0);
	lands(p + PAGE, MIB + PAGE, 2);
	lands(p + 3 * PAGE, MIB + 3 * PAGE, 3);
	/* Move the mapping behind it, which must show the same pages. */
	moved = mremap(p + 3 * PAGE, 5 * PAGE, 4 * PAGE, MREMAP_MAYMOVE);
	ck_assert_ptr_ne(moved, MAP_FAILED);
	lands(moved + 3 * PAGE, MIB + 6 * PAGE, 4);
	ck_assert_ptr_ne(mremap(moved, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
				p + 32 * PAGE),
			 MAP_FAILED);
	moved = p + 32 * PAGE;
	lands(moved + 2 * PAGE, MIB + 5 * PAGE, 5);
	/* It cannot grow beyond the original mapping. */
	ck_assert_ptr_eq(mremap(moved, 4 * PAGE, 16 * PAGE, MREMAP_MAYMOVE), MAP_FAILED);
	/* Make it read-only, and writable again. */
	ck_assert_int_eq(mprotect(p, PAGE, PROT_READ), 0);
	ck_assert_mem_ne(p, "\0\0\0\0", 4);
	child = fork();
	if (!child) {
		*(volatile uint8_t *)p = 1;
		_exit(0);
	}
	ck_assert_int_eq(wait_for(child), 128 + SIGSEGV);
	ck_assert_int_eq(mprotect(p, PAGE, PROT_READ | PROT_WRITE), 0);
	lands(p, MIB, 6);
	/* All of it is revoked, at its new addresses, too. */
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ck_assert(!can_read(p, NULL));
	ck_assert(!can_read(moved, NULL));
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	lands(moved, MIB + 3 * PAGE, 7);
	munmap(p, 2 * PAGE);
	munmap(moved, 4 * PAGE);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(a_forked_child)
{
	struct pb_buffer *buffer = export_one(0, 2 * PAGE);
	uint8_t *p = map_fd(pb_buffer_fd(buffer), 0, 2 * PAGE);
	int to_child[2], from_child[2], child;
	char c;

	ck_assert_int_eq(pipe2(to_child, O_CLOEXEC) | pipe2(from_child, O_CLOEXEC), 0);
	lands(p, 0, 1);
	child = fork();
	if (!child) {
		uint8_t byte, want;

		/* The page that the parent has accessed, and the one that it has not. */
		lab_pattern(&want, 1, 1);
		if (!can_read(p, &byte) || byte != want || !can_write(p + PAGE, 0x77))
			_exit(1);
		if (write(from_child[1], "r", 1) != 1 || read(to_child[0], &c, 1) != 1)
			_exit(2);
		if (can_read(p, NULL) || can_write(p + PAGE, 1))
			_exit(3);
		if (write(from_child[1], "r", 1) != 1 || read(to_child[0], &c, 1) != 1)
			_exit(4);
		_exit(can_read(p, &byte) && byte == want ? 0 : 5);
	}
	ck_assert_int_eq(read(from_child[0], &c, 1), 1);
	ck_assert(lab_host_sees(PAGE, "\x77", 1));
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ck_assert_int_eq(write(to_child[1], "g", 1), 1);
	ck_assert_int_eq(read(from_child[0], &c, 1), 1);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ck_assert_int_eq(write(to_child[1], "g", 1), 1);
	ck_assert_int_eq(wait_for(child), 0);
	munmap(p, 2 * PAGE);
	pb_buffer_close(buffer);
	close(to_child[0]), close(to_child[1]), close(from_child[0]), close(from_child[1]);
}
END_TEST

/* Another process, with another UID, that has only the descriptor. */
START_TEST(a_process_with_only_the_fd)
{
	struct pb_buffer *buffer = export_scattered();
	int sockets[2], child, fd;

	ck_assert_int_eq(socketpair_cloexec(sockets), 0);
	child = fork();
	if (!child) {
		struct pb_iommu *own = NULL;
		uint8_t *p;
		int i;

		/* Keep only stdio and the socket. */
		for (i = 3; i < 200; i++)
			if (i != sockets[0])
				close(i);
		if (setgid(65534) || setuid(65534))
			_exit(1);
		fd = receive_fd(sockets[0]);
		if (pb_iommu_open(&own, NULL) != -EACCES ||
		    open("/dev/vfio/devices/vfio0", O_RDWR) >= 0)
			_exit(2);
		/* It can map the ranges, and no further page. */
		p = map_fd(fd, 0, 6 * PAGE);
		if (!p || map_fd(fd, 0, 7 * PAGE) || map_fd(fd, 6 * PAGE, PAGE))
			_exit(3);
		for (i = 0; i < 6; i++)
			p[(size_t)i * PAGE + 5] = (uint8_t)(0xa0 + i);
		/* It can query the buffer, but only the device's owner can revoke it. */
		if (query(fd).state != PEERBAR_STATE_LIVE ||
		    ioctl(fd, VFIO_DEVICE_FEATURE, NULL) != -1)
			_exit(4);
		_exit(0);
	}
	send_fd(sockets[1], pb_buffer_fd(buffer));
	ck_assert_int_eq(wait_for(child), 0);
	for (fd = 0; fd < 6; fd++) {
		uint8_t want = (uint8_t)(0xa0 + fd);

		ck_assert(lab_host_sees(bar_offset_of((unsigned int)fd) + 5, &want, 1));
	}
	close(sockets[0]);
	close(sockets[1]);
	pb_buffer_close(buffer);
}
END_TEST

/* The access mode of the descriptor limits that of mappings. */
START_TEST(a_read_only_descriptor)
{
	struct {
		struct vfio_device_feature_dma_buf dma_buf;
		struct vfio_region_dma_range range;
	} request = {
		{ .region_index = GPU_BAR, .open_flags = O_RDONLY | O_CLOEXEC, .nr_ranges = 1 },
		{ 0, PAGE },
	};
	int fd = feature(fixture.gpu, VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_DMA_BUF,
			 &request, sizeof(request));
	uint8_t *p;

	ck_assert_int_ge(fd, 0);
	ck_assert_ptr_null(map_fd(fd, 0, PAGE));
	ck_assert_int_eq(errno, EACCES);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert(can_read(p, NULL));
	ck_assert_int_eq(mprotect(p, PAGE, PROT_READ | PROT_WRITE), -1);
	ck_assert_int_eq(errno, EACCES);
	munmap(p, PAGE);
	close(fd);
}
END_TEST

/* The library chooses addresses that permit the most huge pages. */
START_TEST(addresses_for_huge_pages)
{
	struct pb_range parts[] = {
		{ 2 * MIB + PAGE, 6 * MIB - PAGE },
		{ 0, PAGE },
	};
	struct pb_buffer *odd = export_ranges(parts, 2), *whole = export_one(0, 256 * MIB),
			 *stranger;
	struct peerbar_query q;
	void *p;
	uint64_t at;

	/*
	 * The mapping starts between 2 MiB boundaries: small pages up to the first boundary, then
	 * huge pages.
	 */
	ok(pb_buffer_mmap(odd, MIB, 5 * MIB - PAGE, true, &p, &err));
	ck_assert_uint_eq((uintptr_t)p % (2 * MIB), MIB + PAGE);
	for (at = 0; at < 5 * MIB - PAGE; at += PAGE)
		((volatile uint8_t *)p)[at] = 1;
	q = query(pb_buffer_fd(odd));
	ck_assert_uint_eq(q.faults[0], MIB / PAGE - 1);
	ck_assert_uint_eq(q.faults[1], 2);
	munmap(p, 5 * MIB - PAGE);
	/* Without the exporting object, the library aligns to the offset in the buffer. */
	ok(pb_buffer_from_fd(pb_buffer_fd(whole), &stranger, &err));
	ok(pb_buffer_mmap(stranger, 3 * MIB, 4 * MIB, true, &p, &err));
	ck_assert_uint_eq((uintptr_t)p % (2 * MIB), MIB);
	munmap(p, 4 * MIB);
	pb_buffer_close(stranger);
	/* The same for a mapping of the device itself. */
	ok(pb_device_mmap(fixture.gpu, GPU_BAR, PAGE, 8 * MIB, true, &p, &err));
	ck_assert_uint_eq((uintptr_t)p % (2 * MIB), PAGE);
	munmap(p, 8 * MIB);
	pb_buffer_close(odd);
	pb_buffer_close(whole);
}
END_TEST

START_TEST(huge_pages)
{
	struct pb_buffer *buffer = export_one(0, 256 * MIB), *odd = export_one(PAGE, 4 * MIB);
	uint8_t *p = map_fd_aligned(pb_buffer_fd(buffer), 0, 256 * MIB, 2 * MIB, 0);
	struct peerbar_test_pte pte;
	struct peerbar_query q;
	unsigned int i;

	for (i = 0; i < 128; i++)
		p[i * 2 * MIB + 12345] = (uint8_t)i;
	q = query(pb_buffer_fd(buffer));
	ck_assert_uint_eq(q.faults[0], 0);
	ck_assert_uint_eq(q.faults[1], 128);
	ck_assert(page_table(p + 77 * 2 * MIB, &pte));
	ck_assert_uint_eq(pte.size, 2 * MIB);
	for (i = 0; i < 128; i++)
		ck_assert(lab_host_sees(i * 2 * MIB + 12345, &(uint8_t){ (uint8_t)i }, 1));
	/* Revoke all of them, and restore them. */
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ck_assert(!page_table(p + 77 * 2 * MIB, &pte));
	ck_assert(!can_read(p + 77 * 2 * MIB, NULL));
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	lands(p + 77 * 2 * MIB, 77 * 2 * MIB, 4);
	munmap(p, 256 * MIB);

	/* Memory and addresses differ in alignment: small pages. */
	p = map_fd_aligned(pb_buffer_fd(odd), 0, 4 * MIB, 2 * MIB, 0);
	lands(p, PAGE, 1);
	lands(p + 2 * MIB, PAGE + 2 * MIB, 2);
	ck_assert(page_table(p, &pte));
	ck_assert_uint_eq(pte.size, PAGE);
	munmap(p, 4 * MIB);
	/* Where they are congruent, the aligned 2 MiB inside are one huge page. */
	p = map_fd_aligned(pb_buffer_fd(odd), 0, 4 * MIB, 2 * MIB, PAGE);
	lands(p, PAGE, 3);
	lands(p + 2 * MIB - PAGE, 2 * MIB, 4);
	lands(p + 4 * MIB - PAGE, 4 * MIB, 5);
	ck_assert(page_table(p + 2 * MIB - PAGE, &pte));
	ck_assert_uint_eq(pte.size, 2 * MIB);
	q = query(pb_buffer_fd(odd));
	ck_assert_uint_eq(q.faults[0], 4);
	ck_assert_uint_eq(q.faults[1], 1);
	munmap(p, 4 * MIB);
	pb_buffer_close(odd);
	pb_buffer_close(buffer);
}
END_TEST

/* ---- memory attributes ---- */

START_TEST(attributes)
{
	struct pb_buffer *buffer = export_one(0, 4 * MIB);
	int fd = pb_buffer_fd(buffer), udmabuf;
	struct peerbar_test_pte pte;
	uint8_t *nc, *wc;

	ck_assert_int_eq(feature_memattr(fixture.gpu, fd), PEERBAR_MEMATTR_NC);
	nc = map_fd_aligned(fd, 0, 4 * MIB, 2 * MIB, 0);
	lands(nc, 0, 1);
	ck_assert_int_eq(feature_set_memattr(fixture.gpu, fd, PEERBAR_MEMATTR_WC), 0);
	ck_assert_int_eq(feature_memattr(fixture.gpu, fd), PEERBAR_MEMATTR_WC);
	ck_assert_uint_eq(query(fd).memattr, PEERBAR_MEMATTR_WC);
	wc = map_fd_aligned(fd, 0, 4 * MIB, 2 * MIB, 0);
	lands(wc + 3 * PAGE, 3 * PAGE, 2);
	/* The older mapping keeps its attribute, for existing and for new page table entries. */
	lands(nc + 2 * MIB, 2 * MIB, 3);
	ck_assert(page_table(nc, &pte));
	ck_assert_uint_eq(pte.cache, PEERBAR_TEST_CACHE_NC);
	ck_assert(page_table(nc + 2 * MIB, &pte));
	ck_assert_uint_eq(pte.cache, PEERBAR_TEST_CACHE_NC);
	/* One fault mapped the whole 2 MiB, and no more. */
	ck_assert(page_table(wc + 3 * PAGE, &pte));
	ck_assert_uint_eq(pte.cache, PEERBAR_TEST_CACHE_WC);
	ck_assert(page_table(wc + 2 * MIB - PAGE, &pte));
	ck_assert_uint_eq(pte.cache, PEERBAR_TEST_CACHE_WC);
	ck_assert(!page_table(wc + 2 * MIB, &pte));
	ck_assert_uint_eq(query(fd).faults[0], 1);
	lands(wc + 2 * MIB - PAGE, 2 * MIB - PAGE, 4);
	/* A revoke and restore does not change it. */
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ck_assert(!page_table(wc + 3 * PAGE, &pte));
	ck_assert(!can_read(wc, NULL) && !can_read(nc, NULL));
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ck_assert(can_read(wc, NULL) && can_read(nc, NULL));
	ck_assert(page_table(wc, &pte) && pte.cache == PEERBAR_TEST_CACHE_WC);
	ck_assert(page_table(nc, &pte) && pte.cache == PEERBAR_TEST_CACHE_NC);
	/* Nor does mprotect(). */
	ck_assert_int_eq(mprotect(wc, PAGE, PROT_READ), 0);
	ck_assert_int_eq(mprotect(wc, PAGE, PROT_READ | PROT_WRITE), 0);
	lands(wc, 0, 5);
	ck_assert(page_table(wc, &pte) && pte.cache == PEERBAR_TEST_CACHE_WC);
	/* Back to NC, for later mappings. */
	ck_assert_int_eq(feature_set_memattr(fixture.gpu, fd, PEERBAR_MEMATTR_NC), 0);
	ck_assert_int_eq(feature_memattr(fixture.gpu, fd), PEERBAR_MEMATTR_NC);

	/* A failed change has no effect: a cached attribute, an unknown one, one of a group's. */
	ck_assert_int_eq(feature_set_memattr(fixture.gpu, fd, PEERBAR_MEMATTR_WB), -EOPNOTSUPP);
	ck_assert_int_eq(feature_set_memattr(fixture.gpu, fd, 77), -EOPNOTSUPP);
	ck_assert_int_eq(feature_set_memattr(fixture.gpu, fd, 0x01000001), -EOPNOTSUPP);
	ck_assert_int_eq(feature_set_memattr(fixture.gpu, fd, 0xff000001), -EOPNOTSUPP);
	ck_assert_int_eq(feature_memattr(fixture.gpu, fd), PEERBAR_MEMATTR_NC);
	/* A descriptor that is no dma-buf, or not of this device. */
	ck_assert_int_eq(feature_memattr(fixture.gpu, 999), -EBADF);
	ck_assert_int_eq(feature_set_memattr(fixture.gpu, 0, PEERBAR_MEMATTR_WC), -EINVAL);
	ck_assert_int_eq(feature_set_memattr(fixture.edu_device, fd, PEERBAR_MEMATTR_WC), -ENODEV);
	udmabuf = export_udmabuf(PAGE);
	ck_assert_int_eq(feature_set_memattr(fixture.gpu, udmabuf, PEERBAR_MEMATTR_WC), -ENODEV);
	close(udmabuf);
	munmap(nc, 4 * MIB);
	munmap(wc, 4 * MIB);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(features_can_be_probed)
{
	static const uint32_t numbers[] = { VFIO_DEVICE_FEATURE_DMA_BUF,
					    VFIO_DEVICE_FEATURE_PEERBAR_REVOKE,
					    VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR,
					    VFIO_DEVICE_FEATURE_PEERBAR_MMAP_COOKIE };
	static const uint32_t ways[][2] = { { 1, 0 }, { 0, 1 }, { 1, 1 }, { 1, 0 } }; /* get, set */
	uint8_t data[64] = { 0 };
	size_t i;

	for (i = 0; i < 4; i++) {
		uint32_t get = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET,
			 set = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET;

		ck_assert_int_eq(feature(fixture.gpu, get, numbers[i], data, sizeof(data)),
				 ways[i][0] ? 0 : -EINVAL);
		ck_assert_int_eq(feature(fixture.gpu, set, numbers[i], data, sizeof(data)),
				 ways[i][1] ? 0 : -EINVAL);
	}
	ck_assert_int_eq(feature(fixture.gpu, VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET,
				 0x5041, data, sizeof(data)),
			 -ENOTTY);
	/* Too small for the structure. */
	ck_assert_int_eq(feature(fixture.gpu, VFIO_DEVICE_FEATURE_SET,
				 VFIO_DEVICE_FEATURE_PEERBAR_REVOKE, data, 2),
			 -EINVAL);
	ck_assert_int_eq(feature(fixture.gpu, VFIO_DEVICE_FEATURE_GET,
				 VFIO_DEVICE_FEATURE_PEERBAR_MEMATTR, data, 4),
			 -EINVAL);
}
END_TEST

/* ---- cookies ---- */

START_TEST(cookies)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = GPU_BAR };
	uint64_t nc_at, wc_at, edu_at, more[8];
	uint8_t *nc, *wc, *old;
	struct peerbar_test_pte pte;
	int fd = pb_device_fd(fixture.gpu), i;
	uint8_t byte;

	ck_assert_int_eq(feature_cookie(fixture.gpu, GPU_BAR, MIB, 4 * PAGE, PEERBAR_MEMATTR_NC,
					&nc_at),
			 0);
	ck_assert_int_eq(feature_cookie(fixture.gpu, GPU_BAR, 2 * MIB, 2 * PAGE, PEERBAR_MEMATTR_WC,
					&wc_at),
			 0);
	ck_assert(nc_at != wc_at && !(nc_at % PAGE) && !(wc_at % PAGE));
	nc = map_fd(fd, nc_at, 4 * PAGE);
	wc = map_fd(fd, wc_at, 2 * PAGE);
	ck_assert(nc && wc);
	lands(nc, MIB, 1);
	lands(wc + PAGE, 2 * MIB + PAGE, 2);
	ck_assert(page_table(nc, &pte) && pte.cache == PEERBAR_TEST_CACHE_NC);
	ck_assert(page_table(wc + PAGE, &pte) && pte.cache == PEERBAR_TEST_CACHE_WC);
	/* A part of a cookie's range. */
	munmap(nc, 4 * PAGE);
	nc = map_fd(fd, nc_at + 2 * PAGE, PAGE);
	lands(nc, MIB + 2 * PAGE, 3);
	/* Neither more than its range nor beside it. */
	ck_assert_ptr_null(map_fd(fd, nc_at + 2 * PAGE, 3 * PAGE));
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_ptr_null(map_fd(fd, nc_at + 4 * PAGE, PAGE));
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_ptr_null(map_fd(fd, nc_at - PAGE, PAGE));
	ck_assert_int_eq(errno, EINVAL);
	/* Another device's cookie is invalid here. */
	ck_assert_int_eq(feature_cookie(fixture.edu_device, 0, 0, PAGE, PEERBAR_MEMATTR_NC,
					&edu_at),
			 0);
	ck_assert(edu_at != nc_at);
	ck_assert_ptr_null(map_fd(fd, edu_at, PAGE));
	ck_assert_int_eq(errno, EINVAL);
	/* Several cookies of the same range, and the offset of the region itself. */
	for (i = 0; i < 8; i++)
		ck_assert_int_eq(feature_cookie(fixture.gpu, GPU_BAR, MIB, PAGE, PEERBAR_MEMATTR_NC,
						&more[i]),
				 0);
	ck_assert_int_eq(ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &info), 0);
	old = map_fd(fd, info.offset + MIB, PAGE);
	ck_assert_ptr_nonnull(old);
	lands(old, MIB, 4);
	/* All are revoked, and restored. */
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ck_assert(!can_read(nc, NULL) && !can_read(wc, NULL) && !can_read(old, NULL));
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ck_assert(can_read(nc, &byte) && can_read(wc, &byte) && can_read(old, &byte));
	/* Invalid arguments. */
	ck_assert_int_eq(feature_cookie(fixture.gpu, GPU_BAR, 0, 0, PEERBAR_MEMATTR_NC, &more[0]),
			 -EINVAL);
	ck_assert_int_eq(feature_cookie(fixture.gpu, GPU_BAR, 1, PAGE, PEERBAR_MEMATTR_NC,
					&more[0]),
			 -EINVAL);
	ck_assert_int_eq(feature_cookie(fixture.gpu, GPU_BAR, 256 * MIB, PAGE, PEERBAR_MEMATTR_NC,
					&more[0]),
			 -EINVAL);
	ck_assert_int_eq(feature_cookie(fixture.gpu, GPU_BAR, 0, PAGE, PEERBAR_MEMATTR_WB,
					&more[0]),
			 -EOPNOTSUPP);
	ck_assert_int_eq(feature_cookie(fixture.gpu, 9, 0, PAGE, PEERBAR_MEMATTR_NC, &more[0]),
			 -ENODEV);
	munmap(old, PAGE);

	/* Cookies end with the device's descriptor, even if they are mapped. */
	pb_device_close(fixture.gpu);
	ck_assert(!can_read(nc, NULL) && !can_read(wc, NULL));
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ck_assert(!can_read(nc, NULL) && !can_read(wc, NULL));
	ck_assert_ptr_null(map_fd(pb_device_fd(fixture.gpu), wc_at, PAGE));
	ck_assert_int_eq(errno, EINVAL);
	munmap(nc, PAGE);
	munmap(wc, 2 * PAGE);
}
END_TEST

/* ---- names ---- */

/* That of arm64's group is supported there, and nowhere else. */
START_TEST(attribute_of_arm64)
{
	struct pb_buffer *buffer = export_one(0, 4 * MIB);
	int fd = pb_buffer_fd(buffer), ret;
	struct peerbar_test_pte pte;
	uint8_t *dev;
	uint64_t at;

	ck_assert_uint_eq(PEERBAR_MEMATTR_GROUP(PEERBAR_MEMATTR_DEV), PEERBAR_MEMATTR_GROUP_ARM64);
	ret = feature_set_memattr(fixture.gpu, fd, PEERBAR_MEMATTR_DEV);
#ifndef __aarch64__
	ck_assert_int_eq(ret, -EOPNOTSUPP);
	ck_assert_int_eq(feature_memattr(fixture.gpu, fd), PEERBAR_MEMATTR_NC);
	ck_assert_int_eq(feature_cookie(fixture.gpu, GPU_BAR, 0, PAGE, PEERBAR_MEMATTR_DEV, &at),
			 -EOPNOTSUPP);
	(void)pte;
	(void)dev;
#else
	ck_assert_int_eq(ret, 0);
	ck_assert_int_eq(feature_memattr(fixture.gpu, fd), PEERBAR_MEMATTR_DEV);
	ck_assert_uint_eq(query(fd).memattr, PEERBAR_MEMATTR_DEV);
	dev = map_fd_aligned(fd, 0, 4 * MIB, 2 * MIB, 0);
	lands(dev + 3 * PAGE, 3 * PAGE, 7);
	ck_assert(page_table(dev + 3 * PAGE, &pte) && pte.cache == PEERBAR_TEST_CACHE_DEV);
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ck_assert(!can_read(dev, NULL));
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	lands(dev, 0, 8);
	ck_assert(page_table(dev, &pte) && pte.cache == PEERBAR_TEST_CACHE_DEV);
	munmap(dev, 4 * MIB);
	ck_assert_int_eq(feature_cookie(fixture.gpu, GPU_BAR, 0, PAGE, PEERBAR_MEMATTR_DEV, &at),
			 0);
#endif
	pb_buffer_close(buffer);
}
END_TEST

/* By the library, whose sentences name what was asked for. */
START_TEST(attributes_by_the_library)
{
	static const enum pb_memattr combining = PB_WC, impossible[] = { PB_WB, 0x77 };
	struct pb_buffer *buffer = export_one(0, PAGE);
	enum pb_memattr memattr;

	ok(pb_buffer_memattr(fixture.gpu, buffer, &memattr, &err));
	ck_assert_int_eq(memattr, PB_NC);
	ok(pb_buffer_set_memattr(fixture.gpu, buffer, &combining, 1, NULL, &err));
	ok(pb_buffer_memattr(fixture.gpu, buffer, &memattr, &err));
	ck_assert_int_eq(memattr, PB_WC);
	refused(pb_buffer_set_memattr(fixture.gpu, buffer, impossible, 2, NULL, &err), EOPNOTSUPP,
		"to WB (0x2) or another of those that were given: that is not supported");
	refused(pb_buffer_memattr(fixture.edu_device, buffer, &memattr, &err), ENODEV,
		"it is not one of");
	refused(pb_buffer_set_memattr(fixture.edu_device, buffer, &combining, 1, NULL, &err),
		ENODEV, "it is not one of");
	pb_buffer_close(buffer);
}
END_TEST

/* The administrator can prevent that a page is mapped with two memory types. */
START_TEST(write_combining_can_be_refused)
{
	static const char disable[] = "/sys/module/peerbar_vfio_pci/parameters/disable_wc";
	static const enum pb_memattr preferred[] = { PB_WC, PB_NC };
	struct pb_buffer *before = export_one(0, PAGE), *after = export_one(0, PAGE);
	enum pb_memattr chosen;
	uint64_t at;
	uint8_t *p;

	ck_assert_int_eq(feature_set_memattr(fixture.gpu, pb_buffer_fd(before), PEERBAR_MEMATTR_WC),
			 0);
	write_file(disable, "Y");
	ck_assert_int_eq(feature_set_memattr(fixture.gpu, pb_buffer_fd(after), PEERBAR_MEMATTR_WC),
			 -EOPNOTSUPP);
	ok(pb_buffer_set_memattr(fixture.gpu, after, preferred, 2, &chosen, &err));
	ck_assert_int_eq(chosen, PB_NC);
	ck_assert_int_eq(feature_cookie(fixture.gpu, GPU_BAR, 0, PAGE, PEERBAR_MEMATTR_WC, &at),
			 -EOPNOTSUPP);
	p = map_fd(pb_buffer_fd(after), 0, PAGE);
	ck_assert(can_read(p, NULL));
	munmap(p, PAGE);
	ck_assert_ptr_null(map_fd(pb_buffer_fd(before), 0, PAGE));
	ck_assert_int_eq(errno, EOPNOTSUPP);
	ck_assert_int_eq(feature_set_memattr(fixture.gpu, pb_buffer_fd(before), PEERBAR_MEMATTR_NC),
			 0);
	p = map_fd(pb_buffer_fd(before), 0, PAGE);
	ck_assert_ptr_nonnull(p);
	munmap(p, PAGE);
	write_file(disable, "N");
	ck_assert_int_eq(feature_set_memattr(fixture.gpu, pb_buffer_fd(before), PEERBAR_MEMATTR_WC),
			 0);
	p = map_fd(pb_buffer_fd(before), 0, PAGE);
	ck_assert_ptr_nonnull(p);
	munmap(p, PAGE);
	pb_buffer_close(before);
	pb_buffer_close(after);
}
END_TEST

/* A guest may choose the memory type only of memory that VFIO considers safe. */
START_TEST(uncached_types)
{
	int exporter = test_exporter_open(),
	    fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_CORE, PEERBAR_MODEL_REVOCABLE, PAGE);
	struct pb_buffer *buffer = export_one(0, PAGE);
	struct peerbar_test_pte pte;
	uint8_t *p;

	p = map_fd(pb_buffer_fd(buffer), 0, PAGE);
	ck_assert(can_read(p, NULL) && page_table(p, &pte));
	ck_assert_uint_eq(pte.any_uncached, 1);
	munmap(p, PAGE);
	p = map_fd(fd, 0, PAGE);
	ck_assert(can_read(p, NULL) && page_table(p, &pte));
	ck_assert_uint_eq(pte.any_uncached, 0);
	munmap(p, PAGE);
	pb_buffer_close(buffer);
	close(fd);
	close(exporter);
}
END_TEST

/*
 * A BAR that VFIO does not let processes map cannot be mapped through a dma-buf either. Peers still
 * reach it.
 */
START_TEST(a_bar_that_cannot_be_mapped)
{
	int importer = test_importer_open();
	struct pb_buffer *buffer;
	struct pb_mapping *m;
	uint64_t at;
	void *p;
	int ret;

	pb_device_close(fixture.gpu);
	ck_assert_int_eq(test_unmappable(importer, lab_bdf(LAB_GPU), true), 0);
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
	/*
	 * The core checks it when the device is opened. Reset it now, so that a failure below does
	 * not affect later tests.
	 */
	ck_assert_int_eq(test_unmappable(importer, lab_bdf(LAB_GPU), false), 0);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ck_assert_int_lt(pb_device_mmap(fixture.gpu, GPU_BAR, 0, PAGE, true, &p, NULL), 0);
	/* A core that has not mapped the BAR for itself exports nothing of it. */
	ret = feature_cookie(fixture.gpu, GPU_BAR, 0, PAGE, PEERBAR_MEMATTR_NC, &at);
	ck_assert_msg(ret == -EINVAL || ret == -ENODEV, "cookie: %d", ret);
	ret = pb_buffer_export(fixture.gpu, GPU_BAR, &(struct pb_range){ MIB, PAGE }, 1, 0, &buffer,
			       NULL);
	ck_assert_msg(!ret || ret == -ENODEV, "%s", strerror(-ret));
	if (!ret) {
		ck_assert_ptr_null(map_fd(pb_buffer_fd(buffer), 0, PAGE));
		ck_assert_int_eq(errno, EINVAL);
		ck_assert_uint_eq(query(pb_buffer_fd(buffer)).flags & PEERBAR_QUERY_MMAP, 0);
		m = map_rw(buffer);
		dma_lands(pb_mapping_iova(m), MIB);
		ok(pb_unmap(m, &err));
		pb_buffer_close(buffer);
	}
	pb_device_close(fixture.gpu);
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	buffer = export_one(MIB, PAGE);
	p = map_fd(pb_buffer_fd(buffer), 0, PAGE);
	ck_assert_ptr_nonnull(p);
	ck_assert_uint_ne(query(pb_buffer_fd(buffer)).flags & PEERBAR_QUERY_MMAP, 0);
	munmap(p, PAGE);
	pb_buffer_close(buffer);
	close(importer);
}
END_TEST

START_TEST(names_and_offsets)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = GPU_BAR };
	struct pb_buffer *buffer = export_one(0, 4 * PAGE);
	struct process_mapping m;
	uint64_t cookie;
	char want[100];
	uint8_t *p;

	/* The BAR, at the offset that VFIO reports. */
	ck_assert_int_eq(ioctl(pb_device_fd(fixture.gpu), VFIO_DEVICE_GET_REGION_INFO, &info), 0);
	p = map_fd(pb_device_fd(fixture.gpu), info.offset + 5 * PAGE, 2 * PAGE);
	ck_assert(find_mapping((uintptr_t)p, &m) && m.start <= (uintptr_t)p);
	ck_assert_uint_eq(m.offset, info.offset + 5 * PAGE);
	snprintf(want, sizeof(want), "%s/BAR%d]", lab_bdf(LAB_GPU), GPU_BAR);
	ck_assert_msg(strstr(m.name, want), "a mapped BAR is called '%s', not by '%s'", m.name,
		      want);
	lands(p, 5 * PAGE, 1);
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ck_assert(!can_read(p, NULL));
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	lands(p, 5 * PAGE, 2);
	munmap(p, 2 * PAGE);
	/* At a cookie. */
	ck_assert_int_eq(feature_cookie(fixture.gpu, GPU_BAR, 0, 4 * PAGE, PEERBAR_MEMATTR_NC,
					&cookie),
			 0);
	p = map_fd(pb_device_fd(fixture.gpu), cookie + PAGE, PAGE);
	snprintf(want, sizeof(want), "%s/BAR%d", lab_bdf(LAB_GPU), GPU_BAR);
	ck_assert(find_mapping((uintptr_t)p, &m) && m.start <= (uintptr_t)p);
	ck_assert_uint_eq(m.offset, cookie + PAGE);
	ck_assert_msg(strstr(m.name, want), "a mapped cookie is called '%s', not by '%s'", m.name,
		      want);
	munmap(p, PAGE);
	/* Through the dma-buf. */
	p = map_fd(pb_buffer_fd(buffer), 3 * PAGE, PAGE);
	ck_assert(find_mapping((uintptr_t)p, &m) && m.start <= (uintptr_t)p);
	ck_assert_uint_eq(m.offset, 3 * PAGE);
	ck_assert_msg(!strncmp(m.name, "/dmabuf:", 8), "a mapped dma-buf is called '%s'", m.name);
	munmap(p, PAGE);
	pb_buffer_close(buffer);
}
END_TEST

/* A mapping at VFIO's offset keeps the device open, as always. */
START_TEST(a_mapped_bar_keeps_the_device)
{
	uint8_t *p = bar_mmap(0, PAGE);
	struct pb_device *again = NULL;

	pb_device_close(fixture.gpu);
	fixture.gpu = NULL;
	ck_assert(!can_read(p, NULL));
	refused(pb_device_open(fixture.iommu, lab_bdf(LAB_GPU), &again, &err), EBUSY, "in use");
	munmap(p, PAGE);
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
}
END_TEST

LAB_SUITE("mmap", 0)
{
	TCase *t = suite_case(s, "all", 120, modules_up, modules_down);

	tcase_add_test(t, one_range);
	tcase_add_test(t, several_ranges);
	tcase_add_test(t, refused_mappings);
	tcase_add_test(t, munmap_mremap_mprotect);
	tcase_add_test(t, a_forked_child);
	tcase_add_test(t, a_process_with_only_the_fd);
	tcase_add_test(t, a_read_only_descriptor);
	tcase_add_test(t, addresses_for_huge_pages);
	tcase_add_test(t, huge_pages);
	tcase_add_test(t, attributes);
	tcase_add_test(t, features_can_be_probed);
	tcase_add_test(t, cookies);
	tcase_add_test(t, attribute_of_arm64);
	tcase_add_test(t, attributes_by_the_library);
	tcase_add_test(t, write_combining_can_be_refused);
	tcase_add_test(t, uncached_types);
	tcase_add_test(t, a_bar_that_cannot_be_mapped);
	tcase_add_test(t, names_and_offsets);
	tcase_add_test(t, a_mapped_bar_keeps_the_device);
}
