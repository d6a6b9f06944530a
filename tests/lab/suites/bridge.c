// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Bridges: iommufd maps dma-bufs of any exporter. The bytes that a device writes arrive in the BAR,
 * where the exporter put the memory; when the exporter revokes or moves it, DMA faults; what cannot
 * be mapped is refused with the reason.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <stdlib.h>
#include <unistd.h>

#include "kernel-exporters.h"
#include "modules.h"
#include "raw-ioctl.h"
#include "vram.h"

#define SEGMENTS 12
#define ROOM	 1024

static struct peerbar_test_vram_segment segments[SEGMENTS];
static struct peerbar_bridge_range ranges[ROOM];

static void vram_fixture_up(void)
{
	module_load("peerbar-iommufd");
	vram_up();
	fixture_up_without_gpu();
}

static void vram_fixture_down(void)
{
	fixture_down();
	vram_down();
}

static struct pb_buffer *take_fd(int fd)
{
	struct pb_buffer *buffer;

	ok(pb_buffer_from_fd(fd, &buffer, &err));
	return buffer;
}

/* Take the descriptor as a buffer, and map it. */
static struct pb_mapping *map_dmabuf(int fd)
{
	struct pb_buffer *buffer = take_fd(fd);
	struct pb_mapping *m = map_rw(buffer);

	pb_buffer_close(buffer);
	return m;
}

static struct peerbar_test_where where(int fd)
{
	struct peerbar_test_where w;

	ck_assert_int_eq(test_where(vram_exporter, fd, PEERBAR_TEST_PLACE_HERE, 0, &w), 0);
	return w;
}

/* The last references are dropped by a worker: wait until the exporter has lost the importer. */
static void released(int fd)
{
	int i;

	for (i = 0; i < 500 && (where(fd).pins || where(fd).maps); i++)
		usleep(10000);
	ck_assert_uint_eq(where(fd).pins, 0);
	ck_assert_uint_eq(where(fd).maps, 0);
}

static int bridge_raw(int fd, int iommufd, uint32_t flags, unsigned int room,
		      struct peerbar_bridge *r)
{
	int dev = open("/dev/peerbar", O_RDWR | O_CLOEXEC), ret;

	ck_assert_int_ge(dev, 0);
	*r = (struct peerbar_bridge){ .size = sizeof(*r),
				      .fd = fd,
				      .iommufd = iommufd,
				      .flags = flags,
				      .nr_ranges = room,
				      .ranges = (uintptr_t)ranges };
	ret = raw_ioctl(dev, PEERBAR_BRIDGE, r);
	close(dev);
	return ret;
}

static void close_ranges(unsigned int n)
{
	while (n--)
		close(ranges[n].fd);
}

/* ---- DMA ---- */

START_TEST(a_scattered_buffer_is_written)
{
	int fd = vram_export_scattered(0, SEGMENTS, segments);
	struct pb_mapping *m = map_dmabuf(fd);
	uint64_t iova = pb_mapping_iova(m), at = 0;
	unsigned int i;

	for (i = 0; i < SEGMENTS; at += segments[i++].length) {
		dma_lands(iova + at, segments[i].a);
		dma_lands(iova + at + segments[i].length - LEN,
			  segments[i].a + segments[i].length - LEN);
	}
	ck_assert_uint_eq(pb_mapping_length(m), at);
	/* Across a boundary. */
	at = segments[0].length;
	lab_pattern(fixture.memory.p, 2000, 7);
	edu_copy(&fixture.edu, fixture.memory.iova, iova + at - 1000, 2000);
	ck_assert(lab_host_sees(segments[0].a + at - 1000, fixture.memory.p, 1000));
	ck_assert(lab_host_sees(segments[1].a, (uint8_t *)fixture.memory.p + 1000, 1000));
	/* While it is mapped, it is pinned; afterwards it moves, and DMA faults. */
	ck_assert_uint_eq(where(fd).pins, 1);
	ck_assert_int_eq(test_move(vram_exporter, fd, PEERBAR_TEST_PLACE_B), -EBUSY);
	ok(pb_unmap(m, &err));
	dma_faults(iova, segments[0].a);
	released(fd);
	ck_assert_int_eq(test_move(vram_exporter, fd, PEERBAR_TEST_PLACE_B), PEERBAR_TEST_PLACE_B);
	/* Mapped again, it is written in the other place. */
	m = map_dmabuf(fd);
	dma_lands(pb_mapping_iova(m), segments[0].b);
	ok(pb_unmap(m, &err));
	close(fd);
}
END_TEST

START_TEST(an_nvme_writes_it)
{
	int fd = vram_export_scattered(0, SEGMENTS, segments);
	struct pb_device *device = lab_open(fixture.iommu, LAB_NVME);
	uint8_t *want = malloc(MIB);
	struct pb_mapping *m;
	struct nvme nvme;
	uint64_t at = 0, n;
	unsigned int i;

	ok(pb_ioas_attach(fixture.ioas, device, &err));
	ok(nvme_start(&nvme, device, fixture.ioas, &err));
	m = map_dmabuf(fd);
	ck_assert_int_eq(nvme_read(&nvme, 0, pb_mapping_iova(m), MIB), 0);
	lab_disk_bytes(1, 0, want, MIB);
	for (i = 0; at < MIB; at += n, i++) {
		n = segments[i].length < MIB - at ? segments[i].length : MIB - at;
		ck_assert_msg(lab_host_sees(segments[i].a, want + at, n),
			      "segment %u has other bytes than the disk", i);
	}
	ok(pb_unmap(m, &err));
	nvme_stop(&nvme);
	pb_device_close(device);
	free(want);
	close(fd);
}
END_TEST

/* A part, from the middle of a range to the middle of another; several mappings; read-only. */
START_TEST(parts)
{
	int fd = vram_export_scattered(0, SEGMENTS, segments);
	struct pb_buffer *buffer = take_fd(fd);
	struct pb_mapping *part, *all, *ro;
	uint64_t from = segments[0].length - PAGE;

	ok(pb_map_buffer(fixture.ioas, buffer, from, 2 * PAGE, RW | PB_MAP_FIXED, 0x40000000, &part,
			 &err));
	all = map_rw(buffer);
	ok(pb_map_buffer(fixture.ioas, buffer, 0, PAGE, PB_MAP_READ, 0, &ro, &err));
	ck_assert_uint_eq(where(fd).pins, 3);
	dma_lands(0x40000000, segments[0].a + from);
	dma_lands(0x40000000 + PAGE, segments[1].a);
	dma_faults(0x40000000 + 2 * PAGE, segments[1].a + PAGE);
	dma_faults(pb_mapping_iova(ro), segments[0].a);
	ok(pb_unmap(part, &err));
	dma_lands(pb_mapping_iova(all) + from, segments[0].a + from);
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW | PB_MAP_FIXED, pb_mapping_iova(all),
			      &part, &err),
		EEXIST, "something is mapped there");
	ok(pb_unmap(all, &err));
	ok(pb_unmap(ro, &err));
	released(fd);
	pb_buffer_close(buffer);
	close(fd);
}
END_TEST

/* More ranges than fit in the library's first request. A mapping keeps one descriptor. */
START_TEST(many_ranges)
{
	struct peerbar_test_vram_segment *many = calloc(700, sizeof(*many));
	struct pb_mapping *m;
	unsigned int i, fds;
	int fd;

	for (i = 0; i < 700; i++)
		many[i] = (struct peerbar_test_vram_segment){ .a = (1400 - 2 * i) * PAGE,
							      .b = 128 * MIB,
							      .length = PAGE };
	fd = test_export_vram(vram_exporter, lab_bdf(LAB_GPU), 0, many, 700);
	ck_assert_int_ge(fd, 0);
	fds = count_fds();
	m = map_dmabuf(fd);
	ck_assert_uint_le(count_fds(), fds + 2); /* and one of the buffer */
	for (i = 0; i < 700; i += 233)
		dma_lands(pb_mapping_iova(m) + i * PAGE, many[i].a);
	ok(pb_unmap(m, &err));
	close(fd);
	free(many);
}
END_TEST

/* ---- revocation ---- */

static bool is_revoked(struct pb_mapping *m)
{
	ok(pb_ioas_check(fixture.ioas, NULL, &err));
	return pb_mapping_state(m) == PB_REVOKED;
}

START_TEST(its_exporter_revokes_it)
{
	int fd = vram_export_scattered(0, SEGMENTS, segments);
	struct pb_mapping *m = map_dmabuf(fd);
	uint64_t iova = pb_mapping_iova(m), last = pb_mapping_length(m) - PAGE;
	int round;

	for (round = 0; round < 2; round++) {
		dma_lands(iova, segments[0].a);
		ck_assert(!is_revoked(m));
		ck_assert_int_eq(test_revoke(vram_exporter, fd), 0);
		/* Both the exporter and the IOMMU have lost the importer when that returns. */
		ck_assert_uint_eq(where(fd).maps, 0);
		ck_assert_uint_eq(where(fd).pins, 0);
		dma_faults(iova, segments[0].a);
		dma_faults(iova + last, segments[SEGMENTS - 1].a);
		ck_assert(is_revoked(m));
		refused(pb_mapping_restore(m, &err), ENODEV, "revoked");
		ck_assert_int_eq(test_restore(vram_exporter, fd), 0);
		/* Until it is mapped again, the mapping stays dead. */
		dma_faults(iova, segments[0].a);
		ok(pb_mapping_restore(m, &err));
		ck_assert_uint_eq(pb_mapping_iova(m), iova);
	}
	dma_lands(iova + last, segments[SEGMENTS - 1].a + segments[SEGMENTS - 1].length - PAGE);
	ck_assert_int_eq(test_kill(vram_exporter, fd), 0);
	dma_faults(iova, segments[0].a);
	ck_assert(is_revoked(m));
	refused(pb_mapping_restore(m, &err), ENODEV, "revoked");
	ok(pb_unmap(m, &err));
	close(fd);
}
END_TEST

/* The exporter's driver is unbound while the buffer is mapped. */
START_TEST(its_device_goes)
{
	int fd = vram_export_scattered(0, SEGMENTS, segments);
	struct pb_mapping *m = map_dmabuf(fd);

	dma_lands(pb_mapping_iova(m), segments[0].a);
	ok(pb_pci_unbind(lab_bdf(LAB_GPU), &err));
	dma_faults(pb_mapping_iova(m), segments[0].a);
	ck_assert(is_revoked(m));
	refused(pb_mapping_restore(m, &err), ENODEV, "revoked");
	ok(pb_unmap(m, &err));
	close(fd);
}
END_TEST

/* Without a pin, the exporter moves the memory, and the ranges die. */
START_TEST(it_moves_without_a_pin)
{
	int fd = vram_export_scattered(0, SEGMENTS, segments);
	struct peerbar_bridge r;
	uint64_t iova, at = 0x40000000;
	unsigned int i;

	ck_assert_int_eq(bridge_raw(fd, pb_iommu_fd(fixture.iommu), PEERBAR_BRIDGE_UNPINNED, ROOM,
				    &r),
			 0);
	ck_assert_uint_eq(r.nr_ranges, SEGMENTS);
	ck_assert_uint_eq(r.flags & PEERBAR_BRIDGE_PINNED, 0);
	ck_assert_uint_eq(r.reason, 0);
	ck_assert_str_eq(r.device, lab_bdf(LAB_GPU));
	ck_assert_str_eq(r.function, lab_bdf(LAB_EDU));
	ck_assert_uint_eq(where(fd).pins, 0);
	for (i = 0; i < SEGMENTS; at += ranges[i++].length) {
		iova = at;
		ck_assert_uint_eq(ranges[i].length, segments[i].length);
		ck_assert_int_eq(raw_map_file(pb_iommu_fd(fixture.iommu), pb_ioas_id(fixture.ioas),
					      ranges[i].fd, 0, ranges[i].length, 7, &iova),
				 0);
		state_is(ranges[i].fd, PEERBAR_STATE_LIVE);
	}
	dma_lands(0x40000000, segments[0].a);
	ck_assert_int_eq(test_move(vram_exporter, fd, PEERBAR_TEST_PLACE_B), PEERBAR_TEST_PLACE_B);
	dma_faults(0x40000000, segments[0].a);
	for (i = 0; i < SEGMENTS; i++)
		state_is(ranges[i].fd, PEERBAR_STATE_DEAD);
	iova = at;
	ck_assert_int_eq(raw_map_file(pb_iommu_fd(fixture.iommu), pb_ioas_id(fixture.ioas),
				      ranges[0].fd, 0, ranges[0].length, 7, &iova),
			 -ENODEV);
	/* A bridge of the new place. */
	close_ranges(r.nr_ranges);
	ck_assert_int_eq(bridge_raw(fd, pb_iommu_fd(fixture.iommu), 0, ROOM, &r), 0);
	ck_assert_uint_eq(r.flags & PEERBAR_BRIDGE_PINNED, PEERBAR_BRIDGE_PINNED);
	ck_assert_uint_eq(where(fd).pins, 1);
	ck_assert_int_eq(raw_map_file(pb_iommu_fd(fixture.iommu), pb_ioas_id(fixture.ioas),
				      ranges[0].fd, 0, ranges[0].length, 7, &iova),
			 0);
	dma_lands(iova, segments[0].b);
	close_ranges(r.nr_ranges);
	ck_assert_int_eq(raw_unmap(pb_iommu_fd(fixture.iommu), pb_ioas_id(fixture.ioas), iova,
				   segments[0].length),
			 0);
	released(fd);
	close(fd);
}
END_TEST

/* Another importer of the original has work under way: the bridge is revoked without delay. */
START_TEST(a_slow_importer_delays_nothing)
{
	int fd = vram_export(0, MIB), importer = test_importer_open(), handle;
	struct pb_mapping *m = map_dmabuf(fd);
	pid_t child;

	handle = test_import_attach_late(importer, fd, PEERBAR_TEST_KIND_FENCED,
					 PEERBAR_TEST_ATTACH_ANY, lab_bdf(LAB_NIC),
					 PEERBAR_TEST_NEVER);
	ck_assert_int_gt(handle, 0);
	ck_assert_int_eq(test_import_map(importer, handle, NULL), 0);
	child = fork();
	if (!child)
		_exit(test_revoke(vram_exporter, fd) ? 1 : 0);
	wait_until_stale(importer, handle);
	dma_faults(pb_mapping_iova(m), VRAM_A);
	ck_assert_int_eq(waitpid(child, NULL, WNOHANG), 0);
	ck_assert_int_eq(test_import_release(importer, handle), 0);
	ck_assert_int_eq(wait_for(child), 0);
	ok(pb_unmap(m, &err));
	close(importer);
	close(fd);
}
END_TEST

/* ---- refusals ---- */

static void is_refused(int fd, int code, const char *words)
{
	struct pb_buffer *buffer = take_fd(fd);
	unsigned int fds = count_fds();
	struct pb_mapping *m;

	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW, 0, &m, &err), code, words);
	ck_assert_uint_eq(count_fds(), fds);
	pb_buffer_close(buffer);
}

START_TEST(system_memory)
{
	int fd = export_udmabuf(4 * PAGE), vram = vram_export(0, MIB);

	is_refused(fd, EOPNOTSUPP, "in system memory");
	close(fd);
	fd = export_system_heap(4 * PAGE);
	is_refused(fd, EOPNOTSUPP, "in system memory");
	close(fd);
	fd = test_export_one(vram_exporter, PEERBAR_TEST_SOURCE_FOREIGN, PEERBAR_MODEL_DYNAMIC,
			     MIB);
	is_refused(fd, EOPNOTSUPP, "in system memory");
	/* Nothing is left pinned: it moves. */
	ck_assert_int_eq(test_move(vram_exporter, fd, PEERBAR_TEST_PLACE_B), PEERBAR_TEST_PLACE_B);
	close(fd);
	/* VRAM that was evicted returns when it is pinned. */
	ck_assert_int_eq(test_move(vram_exporter, vram, PEERBAR_TEST_PLACE_SYSTEM),
			 PEERBAR_TEST_PLACE_SYSTEM);
	ok(pb_unmap(map_dmabuf(vram), &err));
	ck_assert_int_eq(vram_place(vram), PEERBAR_TEST_PLACE_A);
	close(vram);
	/* It does not, if its exporter leaves it there. */
	vram = vram_export(PEERBAR_TEST_VRAM_STAY, MIB);
	ck_assert_int_eq(test_move(vram_exporter, vram, PEERBAR_TEST_PLACE_SYSTEM),
			 PEERBAR_TEST_PLACE_SYSTEM);
	is_refused(vram, EOPNOTSUPP, "in system memory");
	released(vram);
	close(vram);
}
END_TEST

START_TEST(its_exporter_refuses)
{
	int fd = vram_export(0, MIB);

	ck_assert_int_eq(test_fail(vram_exporter, fd, PEERBAR_TEST_FAIL_PIN, 524, 0), 0);
	is_refused(fd, EOPNOTSUPP, "refuses to pin it");
	ck_assert_int_eq(test_fail(vram_exporter, fd, PEERBAR_TEST_FAIL_PIN, 524, 0), 0);
	is_refused(fd, EOPNOTSUPP, "ENOTSUPP");
	ck_assert_int_eq(test_fail(vram_exporter, fd, PEERBAR_TEST_FAIL_PIN, ENOMEM, 1), 0);
	is_refused(fd, ENOMEM, "refuses to pin it");
	ck_assert_int_eq(test_fail(vram_exporter, fd, PEERBAR_TEST_FAIL_MAP, EAGAIN, 0), 0);
	is_refused(fd, EAGAIN, "refuses to map it");
	ck_assert_uint_eq(where(fd).pins, 0);
	ck_assert_int_eq(test_fail(vram_exporter, fd, PEERBAR_TEST_FAIL_MAP, 0, 0), 0);
	ok(pb_unmap(map_dmabuf(fd), &err));
	close(fd);
	fd = test_export_one(vram_exporter, PEERBAR_TEST_SOURCE_REFUSING, PEERBAR_MODEL_PINNED,
			     PAGE);
	is_refused(fd, EOPNOTSUPP, "refuses to attach it");
	close(fd);
}
END_TEST

/* Neither descriptor alone is enough, and the functions must be bound to the iommufd. */
START_TEST(both_descriptors_are_needed)
{
	int fd = vram_export(0, MIB), null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct peerbar_bridge_function function = { 0 };
	struct pb_iommu *other;
	struct peerbar_bridge r;
	int dev;

	ok(pb_iommu_open(&other, &err));
	ck_assert_int_eq(bridge_raw(fd, -1, 0, ROOM, &r), -EBADF);
	ck_assert_int_eq(bridge_raw(fd, null, 0, ROOM, &r), -EBADFD);
	ck_assert_int_eq(bridge_raw(fd, pb_iommu_fd(other), 0, ROOM, &r), -ENODEV);
	ck_assert_uint_eq(r.reason, PEERBAR_BRIDGE_WHY_NO_FUNCTION);
	ck_assert_int_eq(bridge_raw(-1, pb_iommu_fd(fixture.iommu), 0, ROOM, &r), -EBADF);
	ck_assert_int_eq(bridge_raw(null, pb_iommu_fd(fixture.iommu), 0, ROOM, &r), -EINVAL);
	ck_assert_int_eq(bridge_raw(fd, pb_iommu_fd(fixture.iommu), 0x80, ROOM, &r), -EINVAL);
	/* Another user's function. */
	dev = open("/dev/peerbar", O_RDWR | O_CLOEXEC);
	snprintf(function.name, sizeof(function.name), "%s", lab_bdf(LAB_NVME));
	r = (struct peerbar_bridge){ .size = sizeof(r),
				     .fd = fd,
				     .iommufd = pb_iommu_fd(fixture.iommu),
				     .functions = (uintptr_t)&function,
				     .nr_functions = 1,
				     .nr_ranges = ROOM,
				     .ranges = (uintptr_t)ranges };
	ck_assert_int_eq(raw_ioctl(dev, PEERBAR_BRIDGE, &r), -ENODEV);
	ck_assert_uint_eq(r.reason, PEERBAR_BRIDGE_WHY_NOT_BOUND);
	ck_assert_str_eq(r.function, lab_bdf(LAB_NVME));
	close(dev);
	/* Too little room: nothing is bridged. */
	ck_assert_int_eq(bridge_raw(fd, pb_iommu_fd(fixture.iommu), 0, 0, &r), -EMSGSIZE);
	ck_assert_uint_eq(r.nr_ranges, 1);
	released(fd);
	pb_iommu_close(other);
	close(null);
	close(fd);
}
END_TEST

/* A user pins no more than RLIMIT_MEMLOCK allows, and uses no more descriptors than allowed. */
START_TEST(limits)
{
	int fd = vram_export(0, 2 * MIB), several = vram_export_scattered(0, SEGMENTS, NULL);
	struct rlimit limit = { MIB, MIB }, files = { count_fds() + 4, count_fds() + 4 };
	struct peerbar_bridge r;
	pid_t child = fork();

	if (!child) {
		if (setrlimit(RLIMIT_MEMLOCK, &limit) || setresuid(65534, 65534, 65534))
			_exit(1);
		if (bridge_raw(fd, pb_iommu_fd(fixture.iommu), 0, ROOM, &r) != -ENOMEM ||
		    r.reason != PEERBAR_BRIDGE_WHY_MEMLOCK)
			_exit(2);
		/* Not pinned, it is not charged. */
		if (bridge_raw(fd, pb_iommu_fd(fixture.iommu), PEERBAR_BRIDGE_UNPINNED, ROOM, &r))
			_exit(3);
		if (setrlimit(RLIMIT_NOFILE, &files))
			_exit(4);
		if (bridge_raw(several, pb_iommu_fd(fixture.iommu), PEERBAR_BRIDGE_UNPINNED, ROOM,
			       &r) != -EMFILE)
			_exit(5);
		_exit(0);
	}
	ck_assert_int_eq(wait_for(child), 0);
	released(fd);
	released(several);
	close(fd);
	close(several);
}
END_TEST

/* ---- the ranges themselves ---- */

/* They are for iommufd only: no process maps them, no other importer does DMA to them. */
START_TEST(only_for_iommufd)
{
	int fd = vram_export(0, MIB), importer = test_importer_open(), handle;
	struct peerbar_bridge r, again;
	struct peerbar_query q;

	ck_assert_int_eq(bridge_raw(fd, pb_iommu_fd(fixture.iommu), 0, ROOM, &r), 0);
	q = query(ranges[0].fd);
	ck_assert_uint_eq(q.model, PEERBAR_MODEL_REVOCABLE);
	ck_assert_str_eq(q.exporter, "peerbar_iommufd");
	ck_assert_msg(strstr(q.name, lab_bdf(LAB_GPU)) && strstr(q.name, "BAR2"), "its name is %s",
		      q.name);
	ck_assert(!(q.flags & PEERBAR_QUERY_MMAP));
	ck_assert_ptr_null(map_fd(ranges[0].fd, 0, PAGE));
	handle = test_import_attach(importer, ranges[0].fd, PEERBAR_TEST_KIND_REVOCABLE, 0,
				    lab_bdf(LAB_NIC));
	ck_assert_int_gt(handle, 0);
	ck_assert_int_eq(test_import_map(importer, handle, NULL), -EOPNOTSUPP);
	ck_assert_int_eq(test_import_detach(importer, handle), 0);
	/* A bridge of a bridge. */
	ck_assert_int_eq(bridge_raw(ranges[0].fd, pb_iommu_fd(fixture.iommu), 0, ROOM, &again),
			 -EOPNOTSUPP);
	ck_assert_uint_eq(again.reason, PEERBAR_BRIDGE_WHY_MAP);
	close_ranges(1);
	close(importer);
	close(fd);
}
END_TEST

/* Descriptors, mappings and processes end in any order. */
START_TEST(teardown)
{
	int fd = vram_export_scattered(0, SEGMENTS, segments), kept = dup(fd);
	struct pb_buffer *buffer = take_fd(fd);
	struct pb_mapping *m;
	struct peerbar_bridge r;
	unsigned int i, before = count_listed();
	uint64_t iova;
	pid_t child;
	int tell[2];
	char c;

	/* The original's descriptors are closed first. */
	m = map_rw(buffer);
	pb_buffer_close(buffer);
	close(fd);
	ck_assert_uint_eq(count_listed(), before + SEGMENTS);
	dma_lands(pb_mapping_iova(m), segments[0].a);
	ok(pb_unmap(m, &err));
	released(kept);
	/* Some ranges are closed, others are mapped, others are kept. */
	ck_assert_int_eq(bridge_raw(kept, pb_iommu_fd(fixture.iommu), 0, ROOM, &r), 0);
	for (i = 0; i < SEGMENTS; i++) {
		iova = 0x40000000 + i * 4 * MIB;
		if (i % 3 == 1)
			ck_assert_int_eq(raw_map_file(pb_iommu_fd(fixture.iommu),
						      pb_ioas_id(fixture.ioas), ranges[i].fd, 0,
						      ranges[i].length, 7, &iova),
					 0);
		if (i % 3 != 2)
			close(ranges[i].fd);
	}
	dma_lands(0x40000000 + 4 * MIB, segments[1].a);
	ck_assert_uint_eq(where(kept).pins, 1);
	ck_assert_int_eq(test_revoke(vram_exporter, kept), 0);
	dma_faults(0x40000000 + 4 * MIB, segments[1].a);
	ck_assert_int_eq(test_restore(vram_exporter, kept), 0);
	for (i = 2; i < SEGMENTS; i += 3)
		close(ranges[i].fd);
	for (i = 1; i < SEGMENTS; i += 3)
		ck_assert_int_eq(raw_unmap(pb_iommu_fd(fixture.iommu), pb_ioas_id(fixture.ioas),
					   0x40000000 + i * 4 * MIB, ranges[i].length),
				 0);
	/* A process is killed while it has them. */
	ck_assert_int_eq(pipe2(tell, O_CLOEXEC), 0);
	child = fork();
	if (!child) {
		c = bridge_raw(kept, pb_iommu_fd(fixture.iommu), 0, ROOM, &r) ? 'n' : 'y';
		if (write(tell[1], &c, 1) != 1)
			_exit(1);
		pause();
	}
	ck_assert_int_eq(read(tell[0], &c, 1), 1);
	ck_assert_int_eq(c, 'y');
	ck_assert_uint_eq(where(kept).pins, 1);
	kill(child, SIGKILL);
	ck_assert_int_eq(wait_for(child), 128 + SIGKILL);
	released(kept);
	close(tell[0]);
	close(tell[1]);
	/* The module stays while there are ranges. */
	ck_assert_int_eq(bridge_raw(kept, pb_iommu_fd(fixture.iommu), 0, ROOM, &r), 0);
	ck_assert_int_lt(module_unload("peerbar-iommufd"), 0);
	close_ranges(r.nr_ranges);
	released(kept);
	close(kept);
}
END_TEST

/* ---- other exporters ---- */

/* A descriptor of several ranges of a VFIO device, from another exporter in this process. */
START_TEST(several_ranges_of_vfio)
{
	const struct pb_range three[] = { { 64 * MIB, 3 * PAGE },
					  { 2 * PAGE, PAGE },
					  { MIB, PAGE } };
	struct pb_buffer *buffer = export_ranges(three, 3), *taken;
	struct pb_mapping *m;
	uint64_t iova;

	taken = take_fd(pb_buffer_fd(buffer));
	m = map_rw(taken);
	iova = pb_mapping_iova(m);
	dma_lands(iova + 2 * PAGE, 64 * MIB + 2 * PAGE);
	dma_lands(iova + 3 * PAGE, 2 * PAGE);
	dma_lands(iova + 4 * PAGE, MIB);
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	dma_faults(iova + 3 * PAGE, 2 * PAGE);
	ck_assert(is_revoked(m));
	refused(pb_mapping_restore(m, &err), ENODEV, "revoked");
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ok(pb_mapping_restore(m, &err));
	dma_lands(iova + 3 * PAGE, 2 * PAGE);
	pb_device_close(fixture.gpu);
	fixture.gpu = NULL;
	dma_faults(iova + 4 * PAGE, MIB);
	ok(pb_unmap(m, &err));
	pb_buffer_close(taken);
	pb_buffer_close(buffer);
}
END_TEST

/* A descriptor for reading only does not become one for DMA. */
START_TEST(read_only)
{
	const struct raw_range two[] = { { 0, PAGE }, { MIB, PAGE } };
	int fd = raw_export(pb_device_fd(fixture.gpu), GPU_BAR, two, 2, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	is_refused(fd, EACCES, "read-only");
	close(fd);
	fd = raw_export(pb_device_fd(fixture.gpu), GPU_BAR, two, 2, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ok(pb_unmap(map_dmabuf(fd), &err));
	close(fd);
}
END_TEST

static void stock_up(void)
{
	module_load("peerbar-iommufd");
	setenv("LAB_DRIVER", "vfio-pci", 1);
	fixture_up();
}

LAB_SUITE("bridge", 0)
{
	TCase *t = suite_case(s, "vram", 240, vram_fixture_up, vram_fixture_down);

	tcase_add_test(t, a_scattered_buffer_is_written);
	tcase_add_test(t, an_nvme_writes_it);
	tcase_add_test(t, parts);
	tcase_add_test(t, many_ranges);
	tcase_add_test(t, its_exporter_revokes_it);
	tcase_add_test(t, its_device_goes);
	tcase_add_test(t, it_moves_without_a_pin);
	tcase_add_test(t, a_slow_importer_delays_nothing);
	tcase_add_test(t, system_memory);
	tcase_add_test(t, its_exporter_refuses);
	tcase_add_test(t, both_descriptors_are_needed);
	tcase_add_test(t, limits);
	tcase_add_test(t, only_for_iommufd);
	tcase_add_test(t, teardown);
	t = suite_case(s, "peerbar-vfio-pci", 240, modules_up, modules_down);
	tcase_add_test(t, several_ranges_of_vfio);
	tcase_add_test(t, read_only);
	t = suite_case(s, "vfio-pci", 240, stock_up, fixture_down);
	tcase_add_test(t, several_ranges_of_vfio);
}
