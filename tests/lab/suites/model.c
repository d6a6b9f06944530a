// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The model of a dma-buf, from user space and in the kernel; the importers that can attach, and
 * those that fail without a leak; moves of DYNAMIC buffers; and the addresses that importers in the
 * kernel get.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "kernel-exporters.h"
#include "modules.h"
#include "testmod.h"
#include "uapi.h"

static int importer, exporter;

static void model_up(void)
{
	modules_up();
	importer = test_importer_open();
	exporter = test_exporter_open();
}

static void model_down(void)
{
	close(importer);
	close(exporter);
	modules_down();
}

/* Check the facts that follow the model, each with how it is known. */
static void facts_are(int fd, enum peerbar_answer can_pin, enum peerbar_basis can_pin_basis,
		      enum peerbar_answer can_revoke, enum peerbar_basis can_revoke_basis,
		      enum peerbar_state state)
{
	struct peerbar_query q = query(fd);

	ck_assert_uint_eq(q.can_pin, can_pin);
	ck_assert_uint_eq(q.can_pin_basis, can_pin_basis);
	ck_assert_uint_eq(q.can_revoke, can_revoke);
	ck_assert_uint_eq(q.can_revoke_basis, can_revoke_basis);
	ck_assert_uint_eq(q.state, state);
}

static void place_is(int fd, enum peerbar_place place, enum peerbar_basis basis)
{
	struct peerbar_query q = query(fd);

	ck_assert_uint_eq(q.place, place);
	ck_assert_uint_eq(q.place_basis, basis);
	ck_assert_str_eq(q.place_device, "");
	ck_assert_uint_eq(q.bar + q.bar_offset, 0);
}

static void model_is(int fd, enum peerbar_model model, bool declared)
{
	struct peerbar_query q = query(fd);
	bool said;

	ck_assert_msg(q.model == model, "/dev/peerbar says that the model is %u, not %u", q.model,
		      model);
	ck_assert_int_eq(!!(q.flags & PEERBAR_QUERY_DECLARED), declared);
	/* The core reports the same to kernel modules. */
	ck_assert_int_eq(test_model(importer, fd, &said), (int)model);
	ck_assert_int_eq(said, declared);
	/* The query leaves no attachment. */
	ck_assert_uint_eq(query(fd).importers, 0);
}

/* ---- F2: the model ---- */

START_TEST(of_our_buffers)
{
	struct pb_buffer *buffer = export_one(3 * PAGE, PAGE);
	struct pb_listed *list;
	struct peerbar_query q;
	unsigned int n;

	model_is(pb_buffer_fd(buffer), PEERBAR_MODEL_REVOCABLE, true);
	q = query(pb_buffer_fd(buffer));
	ck_assert(q.flags & PEERBAR_QUERY_OURS);
	ck_assert(q.flags & PEERBAR_QUERY_MMAP);
	ck_assert_uint_eq(q.length, PAGE);
	ck_assert_uint_ne(q.id, 0);
	ck_assert_uint_eq(q.inode, pb_buffer_id(buffer));
	ck_assert_str_eq(q.exporter, "peerbar_vfio_pci");
	ck_assert_msg(strstr(q.name, lab_bdf(LAB_GPU)) && strstr(q.name, "BAR2"),
		      "its name is '%s'", q.name);
	facts_are(pb_buffer_fd(buffer), PEERBAR_ANSWER_NO, PEERBAR_BASIS_DECLARED,
		  PEERBAR_ANSWER_YES, PEERBAR_BASIS_DECLARED, PEERBAR_STATE_LIVE);
	ck_assert_uint_eq(q.state_basis, PEERBAR_BASIS_DECLARED);
	ck_assert_uint_eq(q.place, PEERBAR_PLACE_BAR);
	ck_assert_uint_eq(q.place_basis, PEERBAR_BASIS_DECLARED);
	ck_assert_str_eq(q.place_device, lab_bdf(LAB_GPU));
	ck_assert_uint_eq(q.bar, GPU_BAR);
	ck_assert_uint_eq(q.bar_offset, 3 * PAGE);
	ck_assert_str_eq(q.driver, "peerbar_vfio_pci");
	ok(pb_list_buffers(&list, &n, &err));
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(list[0].can_pin, PB_ANSWER_NO);
	ck_assert_int_eq(list[0].can_revoke, PB_ANSWER_YES);
	ck_assert_int_eq(list[0].place, PB_PLACE_BAR);
	ck_assert_uint_eq(list[0].bar, GPU_BAR);
	ck_assert_uint_eq(list[0].bar_offset, 3 * PAGE);
	free(list);
	/* Revoking does not change it. */
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	model_is(pb_buffer_fd(buffer), PEERBAR_MODEL_REVOCABLE, true);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ck_assert_int_eq(feature_revoke(fixture.gpu, pb_buffer_fd(buffer)), 0);
	model_is(pb_buffer_fd(buffer), PEERBAR_MODEL_REVOCABLE, true);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(of_the_stock_driver)
{
	struct pb_range range = { 0, PAGE };
	struct pb_buffer_info info;
	struct pb_device *stock;
	struct pb_buffer *buffer;

	ok(pb_pci_bind(lab_bdf(LAB_NVME_CMB), "vfio-pci", &err));
	ok(pb_device_open(fixture.iommu, lab_bdf(LAB_NVME_CMB), &stock, &err));
	ok(pb_device_set_decoding(stock, true, &err));
	ok(pb_buffer_export(stock, CMB_BAR, &range, 1, 0, &buffer, &err));
	model_is(pb_buffer_fd(buffer), PEERBAR_MODEL_REVOCABLE, false);
	ck_assert(!(query(pb_buffer_fd(buffer)).flags & (PEERBAR_QUERY_OURS | PEERBAR_QUERY_MMAP)));
	facts_are(pb_buffer_fd(buffer), PEERBAR_ANSWER_NO, PEERBAR_BASIS_DERIVED,
		  PEERBAR_ANSWER_YES, PEERBAR_BASIS_DERIVED, PEERBAR_STATE_LIVE);
	/* The kernel does not report which BAR; the library knows what it has exported. */
	place_is(pb_buffer_fd(buffer), PEERBAR_PLACE_BAR, PEERBAR_BASIS_NAME);
	ok(pb_buffer_query(buffer, &info, &err));
	ck_assert_int_eq(info.place, PB_PLACE_BAR);
	ck_assert_int_eq(info.place_basis, PB_BASIS_DECLARED);
	ck_assert_str_eq(info.place_bdf, lab_bdf(LAB_NVME_CMB));
	ck_assert_uint_eq(info.place_bar, CMB_BAR);
	ck_assert_uint_eq(info.place_offset, 0);
	/* A revoked buffer refuses all attachments, and is known to be revoked by that. */
	ok(pb_device_set_decoding(stock, false, &err));
	model_is(pb_buffer_fd(buffer), PEERBAR_MODEL_REVOCABLE, false);
	facts_are(pb_buffer_fd(buffer), PEERBAR_ANSWER_NO, PEERBAR_BASIS_DERIVED,
		  PEERBAR_ANSWER_YES, PEERBAR_BASIS_DERIVED, PEERBAR_STATE_REVOKED);
	ok(pb_device_set_decoding(stock, true, &err));
	model_is(pb_buffer_fd(buffer), PEERBAR_MODEL_REVOCABLE, false);
	ck_assert_uint_eq(query(pb_buffer_fd(buffer)).state, PEERBAR_STATE_LIVE);
	pb_buffer_close(buffer);
	pb_device_close(stock);
}
END_TEST

START_TEST(of_others)
{
	int udmabuf = export_udmabuf(4 * PAGE), heap = export_system_heap(4 * PAGE),
	    vgem = export_vgem(4 * PAGE), fds[] = { udmabuf, heap, vgem }, i;

	model_is(udmabuf, PEERBAR_MODEL_PINNED, false);
	model_is(heap, PEERBAR_MODEL_PINNED, false);
	model_is(vgem, PEERBAR_MODEL_PINNED, false);
	for (i = 0; i < 3; i++) {
		facts_are(fds[i], PEERBAR_ANSWER_NO, PEERBAR_BASIS_DERIVED, PEERBAR_ANSWER_NO,
			  PEERBAR_BASIS_DERIVED, PEERBAR_STATE_LIVE);
		place_is(fds[i], PEERBAR_PLACE_SYSTEM, PEERBAR_BASIS_NAME);
	}
	/* All GPU drivers have the same name; their modules differ. */
	ck_assert_str_eq(query(vgem).exporter, "drm");
	ck_assert_str_eq(query(vgem).driver, "vgem");
	close(udmabuf);
	close(heap);
	close(vgem);
}
END_TEST

START_TEST(of_the_test_exporter)
{
	static const enum peerbar_model models[] = { PEERBAR_MODEL_PINNED, PEERBAR_MODEL_REVOCABLE,
						     PEERBAR_MODEL_DYNAMIC };
	struct peerbar_query q = { .size = sizeof(q) };
	int fd, i, dev = open("/dev/peerbar", O_RDWR | O_CLOEXEC);
	bool declared;

	for (i = 0; i < 3; i++) {
		fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_CORE, models[i], 2 * PAGE);
		ck_assert_int_ge(fd, 0);
		model_is(fd, models[i], true);
		facts_are(fd,
			  models[i] == PEERBAR_MODEL_DYNAMIC ? PEERBAR_ANSWER_YES :
							       PEERBAR_ANSWER_NO,
			  PEERBAR_BASIS_DECLARED,
			  models[i] == PEERBAR_MODEL_PINNED ? PEERBAR_ANSWER_NO :
							      PEERBAR_ANSWER_YES,
			  PEERBAR_BASIS_DECLARED, PEERBAR_STATE_LIVE);
		place_is(fd, PEERBAR_PLACE_SYSTEM, PEERBAR_BASIS_DECLARED);
		close(fd);
		/* The same behaviour without a declaration. */
		fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_FOREIGN, models[i], 2 * PAGE);
		ck_assert_int_ge(fd, 0);
		if (models[i] == PEERBAR_MODEL_REVOCABLE) {
			/* Attaching might move it, so that needs a flag, or an importer. */
			ck_assert_uint_eq(query(fd).model, PEERBAR_MODEL_UNKNOWN);
			ck_assert_uint_eq(query(fd).model_basis, PEERBAR_BASIS_NONE);
			q = (struct peerbar_query){ .size = sizeof(q),
						    .fd = fd,
						    .flags = PEERBAR_QUERY_PROBE };
			ck_assert_int_eq(ioctl(dev, PEERBAR_QUERY, &q), 0);
			ck_assert_uint_eq(q.model, PEERBAR_MODEL_REVOCABLE);
			ck_assert_uint_eq(q.model_basis, PEERBAR_BASIS_DERIVED);
			ck_assert_uint_eq(q.state, PEERBAR_STATE_LIVE);
			ck_assert_uint_eq(q.importers, 0);
			ck_assert_int_eq(test_model(importer, fd, &declared),
					 PEERBAR_MODEL_REVOCABLE);
			ck_assert(!declared);
		} else {
			model_is(fd, models[i], false);
		}
		place_is(fd, PEERBAR_PLACE_UNKNOWN, PEERBAR_BASIS_NONE);
		close(fd);
	}
	close(dev);
	/* A declaration takes precedence over the behaviour. */
	fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_DECLARED, PEERBAR_MODEL_PINNED, PAGE);
	ck_assert_int_ge(fd, 0);
	model_is(fd, PEERBAR_MODEL_PINNED, true);
	close(fd);
	/* Without either, the model is UNKNOWN. */
	fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_REFUSING, PEERBAR_MODEL_PINNED, PAGE);
	ck_assert_int_ge(fd, 0);
	model_is(fd, PEERBAR_MODEL_UNKNOWN, false);
	close(fd);
}
END_TEST

START_TEST(of_what_is_no_dma_buf)
{
	struct peerbar_query q = { .size = sizeof(q), .fd = 999 };
	int dev = open("/dev/peerbar", O_RDWR | O_CLOEXEC),
	    null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct peerbar_info info = { .size = sizeof(info) };

	ck_assert_int_eq(ioctl(dev, PEERBAR_QUERY, &q), -1);
	ck_assert_int_eq(errno, EBADF);
	q.fd = null;
	ck_assert_int_eq(ioctl(dev, PEERBAR_QUERY, &q), -1);
	ck_assert_int_eq(errno, EINVAL);
	q.flags = 1;
	ck_assert_int_eq(ioctl(dev, PEERBAR_QUERY, &q), -1);
	ck_assert_int_eq(errno, EINVAL);
	q.size = 8;
	ck_assert_int_eq(ioctl(dev, PEERBAR_QUERY, &q), -1);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq(ioctl(dev, PEERBAR_INFO, &info), 0);
	ck_assert_uint_eq(info.abi, 1);
	ck_assert_uint_eq(info.caps,
			  PEERBAR_CAP_P2PDMA | PEERBAR_CAP_IOMMUFD | PEERBAR_CAP_VFIO |
				  PEERBAR_CAP_PAGE | PEERBAR_CAP_IMPORTERS | PEERBAR_CAP_BRIDGE);
	close(null);
	close(dev);
}
END_TEST

/* ---- F3: importers ---- */

static bool takes(enum peerbar_test_kind kind, enum peerbar_model model)
{
	switch (kind) {
	case PEERBAR_TEST_KIND_STATIC:
	case PEERBAR_TEST_KIND_PINNING:
		return model == PEERBAR_MODEL_PINNED;
	case PEERBAR_TEST_KIND_DYNAMIC:
		return true;
	default:
		return model != PEERBAR_MODEL_DYNAMIC;
	}
}

static void every_importer(int fd, enum peerbar_model model, const char *device)
{
	enum peerbar_test_kind kind;

	for (kind = PEERBAR_TEST_KIND_STATIC; kind <= PEERBAR_TEST_KIND_DYNAMIC; kind++) {
		int handle = test_import_attach(importer, fd, kind, 0, device);

		if (takes(kind, model)) {
			ck_assert_msg(handle > 0, "importer %d refuses model %d: %s", (int)kind,
				      (int)model, strerror(-handle));
			ck_assert_int_eq(test_import_map(importer, handle, NULL), 0);
			ck_assert_uint_eq(query(fd).importers, 1);
			ck_assert_int_eq(test_import_detach(importer, handle), 0);
		} else {
			ck_assert_msg(handle == -EOPNOTSUPP, "importer %d takes model %d: %d",
				      (int)kind, (int)model, handle);
		}
		ck_assert_uint_eq(query(fd).importers, 0);
	}
	/* The exporter refuses importers that do not check the model and that it cannot support. */
	if (model == PEERBAR_MODEL_REVOCABLE) {
		ck_assert_int_eq(test_import_attach(importer, fd, PEERBAR_TEST_KIND_STATIC,
						    PEERBAR_TEST_ATTACH_ANY, device),
				 -EOPNOTSUPP);
		ck_assert_int_eq(test_import_attach(importer, fd, PEERBAR_TEST_KIND_PINNING,
						    PEERBAR_TEST_ATTACH_ANY, device),
				 -EOPNOTSUPP);
		ck_assert_uint_eq(query(fd).importers, 0);
	}
}

START_TEST(importers_take_what_they_can)
{
	static const enum peerbar_test_source sources[] = { PEERBAR_TEST_SOURCE_CORE,
							    PEERBAR_TEST_SOURCE_FOREIGN };
	struct pb_buffer *buffer = export_one(0, 2 * PAGE);
	enum peerbar_model model;
	int fd, i;

	every_importer(pb_buffer_fd(buffer), PEERBAR_MODEL_REVOCABLE, lab_bdf(LAB_NIC));
	pb_buffer_close(buffer);
	for (i = 0; i < 2; i++) {
		for (model = PEERBAR_MODEL_PINNED; model <= PEERBAR_MODEL_DYNAMIC; model++) {
			fd = test_export_one(exporter, sources[i], model, 2 * PAGE);
			every_importer(fd, model, NULL);
			every_importer(fd, model, lab_bdf(LAB_NIC));
			close(fd);
		}
	}
	fd = export_udmabuf(2 * PAGE);
	every_importer(fd, PEERBAR_MODEL_PINNED, NULL);
	close(fd);
}
END_TEST

/* A device that is not on PCI cannot reach a BAR. */
START_TEST(an_importer_that_is_no_peer)
{
	struct pb_buffer *buffer = export_one(0, 2 * PAGE);
	int handle = test_import_attach(importer, pb_buffer_fd(buffer), PEERBAR_TEST_KIND_REVOCABLE,
					0, NULL);

	ck_assert_int_gt(handle, 0);
	ck_assert_int_lt(test_import_map(importer, handle, NULL), 0);
	ck_assert_int_eq(test_import_detach(importer, handle), 0);
	state_is(pb_buffer_fd(buffer), PEERBAR_STATE_LIVE);
	pb_buffer_close(buffer);
}
END_TEST

/* Call iommufd without the library, which would check the model first. */
static int map_file(int fd, uint64_t length)
{
	struct iommu_ioas_map_file map = { .size = sizeof(map),
					   .flags = IOMMU_IOAS_MAP_READABLE,
					   .ioas_id = pb_ioas_id(fixture.ioas),
					   .fd = fd,
					   .length = length };

	return ioctl(pb_iommu_fd(fixture.iommu), IOMMU_IOAS_MAP_FILE, &map) ? -errno : 0;
}

START_TEST(iommufd_refuses)
{
	struct pb_range two[] = {
		{ 0, PAGE },
		{ MIB, PAGE },
	};
	int dynamic = test_export_one(exporter, PEERBAR_TEST_SOURCE_CORE, PEERBAR_MODEL_DYNAMIC,
				      2 * PAGE);
	int memory_fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_CORE, PEERBAR_MODEL_REVOCABLE,
					2 * PAGE);
	int foreign = test_export_one(exporter, PEERBAR_TEST_SOURCE_FOREIGN, PEERBAR_MODEL_DYNAMIC,
				      2 * PAGE);
	struct pb_buffer *several = export_ranges(two, 2), *taken;
	struct pb_mapping *m = NULL;
	int log = log_open();

	ck_assert_int_eq(map_file(dynamic, PAGE), -EOPNOTSUPP);
	ck_assert(log_has(log, "its memory model is DYNAMIC, and iommufd cannot follow"));
	ck_assert_uint_eq(query(dynamic).importers, 0);
	/* It is not pinned either: it can move. */
	ck_assert_int_eq(test_move(exporter, dynamic, PEERBAR_TEST_PLACE_THERE),
			 PEERBAR_TEST_PLACE_B);
	ck_assert_int_eq(map_file(memory_fd, PAGE), -EOPNOTSUPP);
	ck_assert_int_eq(map_file(foreign, PAGE), -EOPNOTSUPP);
	ck_assert_int_eq(map_file(pb_buffer_fd(several), PAGE), -EOPNOTSUPP);
	ck_assert_uint_eq(query(memory_fd).importers + query(foreign).importers +
				  query(pb_buffer_fd(several)).importers,
			  0);
	/* By a bridge, it would be pinned: only its place is refused. */
	ok(pb_buffer_from_fd(dynamic, &taken, &err));
	refused(pb_map_buffer(fixture.ioas, taken, 0, 0, RW, 0, &m, &err), EOPNOTSUPP,
		"in system memory");
	ck_assert_int_eq(test_move(exporter, dynamic, PEERBAR_TEST_PLACE_THERE),
			 PEERBAR_TEST_PLACE_A);
	pb_buffer_close(taken);
	pb_buffer_close(several);
	close(dynamic);
	close(memory_fd);
	close(foreign);
}
END_TEST

/* ---- DYNAMIC buffers ---- */

START_TEST(it_moves)
{
	enum peerbar_test_source source = _i ? PEERBAR_TEST_SOURCE_FOREIGN :
					       PEERBAR_TEST_SOURCE_CORE;
	int fd = test_export_one(exporter, source, PEERBAR_MODEL_DYNAMIC, 2 * PAGE), handle, pinned;
	uint8_t bytes[LEN], back[LEN];
	struct peerbar_test_where a, b;
	struct peerbar_test_map map, again;
	struct peerbar_test_status status;

	ck_assert_int_ge(fd, 0);
	lab_pattern(bytes, LEN, 5);
	ck_assert_int_eq(test_write(exporter, fd, PEERBAR_TEST_PLACE_HERE, 0, bytes, LEN), 0);
	ck_assert_int_eq(test_where(exporter, fd, PEERBAR_TEST_PLACE_HERE, 0, &a), 0);
	handle = test_import_attach(importer, fd, PEERBAR_TEST_KIND_DYNAMIC, 0, NULL);
	ck_assert_int_gt(handle, 0);
	ck_assert_int_eq(test_import_map(importer, handle, &map), 0);
	ck_assert_int_eq(test_move(exporter, fd, PEERBAR_TEST_PLACE_THERE), PEERBAR_TEST_PLACE_B);
	/* The importer was invalidated, and finds the data at another address. */
	ck_assert_int_eq(test_import_status(importer, handle, &status), 0);
	ck_assert_uint_eq(status.invalidations, 1);
	ck_assert(status.flags & PEERBAR_TEST_STATUS_STALE);
	ck_assert_int_eq(test_where(exporter, fd, PEERBAR_TEST_PLACE_HERE, 0, &b), 0);
	ck_assert_uint_ne(a.paddr, b.paddr);
	ck_assert_int_eq(test_import_map(importer, handle, &again), 0);
	ck_assert_uint_ne(map.segments[0].addr, again.segments[0].addr);
	ck_assert_int_eq(test_read(exporter, fd, PEERBAR_TEST_PLACE_HERE, 0, back, LEN), 0);
	ck_assert_mem_eq(back, bytes, LEN);
	/* The old place has none of the data. */
	ck_assert_int_eq(test_read(exporter, fd, PEERBAR_TEST_PLACE_THERE, 0, back, LEN), 0);
	ck_assert_uint_eq(back[0], PEERBAR_TEST_POISON);
	ck_assert_int_eq(test_import_detach(importer, handle), 0);

	/* An importer's pin prevents moves. */
	pinned = test_import_attach(importer, fd, PEERBAR_TEST_KIND_PINNING,
				    PEERBAR_TEST_ATTACH_ANY, NULL);
	ck_assert_int_gt(pinned, 0);
	ck_assert_int_eq(test_import_map(importer, pinned, NULL), 0);
	ck_assert_int_eq(test_move(exporter, fd, PEERBAR_TEST_PLACE_THERE), -EBUSY);
	ck_assert_int_eq(test_import_detach(importer, pinned), 0);
	ck_assert_int_eq(test_move(exporter, fd, PEERBAR_TEST_PLACE_THERE), PEERBAR_TEST_PLACE_A);
	close(fd);
}
END_TEST

/* Revoking does not wait for an importer that has pinned the buffer and cannot be invalidated. */
START_TEST(a_pinned_one_is_taken_away)
{
	int fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_CORE, PEERBAR_MODEL_DYNAMIC, PAGE);
	int pinned = test_import_attach(importer, fd, PEERBAR_TEST_KIND_PINNING,
					PEERBAR_TEST_ATTACH_ANY, NULL);
	int other = test_import_attach(importer, fd, PEERBAR_TEST_KIND_DYNAMIC, 0, NULL);
	uint8_t *p = map_fd(fd, 0, PAGE);

	ck_assert_int_gt(pinned, 0);
	ck_assert_int_gt(other, 0);
	ck_assert(can_read(p, NULL));
	ck_assert_int_eq(test_import_map(importer, pinned, NULL), 0);
	ck_assert_int_eq(test_import_map(importer, other, NULL), 0);
	ck_assert_int_eq(test_revoke(exporter, fd), -EBUSY);
	ck_assert_int_eq(test_kill(exporter, fd), -EBUSY);
	state_is(fd, PEERBAR_STATE_DEAD);
	ck_assert(!can_read(p, NULL));
	ck_assert(!test_import_is(importer, other, PEERBAR_TEST_STATUS_MAPPED));
	ck_assert(test_import_is(importer, pinned, PEERBAR_TEST_STATUS_MAPPED));
	ck_assert_int_eq(test_import_map(importer, other, NULL), -ENODEV);
	ck_assert_int_eq(test_import_detach(importer, pinned), 0);
	ck_assert_int_eq(test_kill(exporter, fd), 0);
	munmap(p, PAGE);
	close(fd);
}
END_TEST

/*
 * A process's mapping always shows the data at its current place, and never the remains at the old
 * one.
 */
START_TEST(it_moves_under_a_process)
{
	int fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_CORE, PEERBAR_MODEL_DYNAMIC,
				 8 * PAGE);
	uint8_t *p = map_fd(fd, 0, 8 * PAGE);
	struct peerbar_test_where where;
	struct peerbar_test_pte before, after;
	struct timespec start, now;
	unsigned int round = 0;
	size_t i;

	ck_assert_ptr_nonnull(p);
	memset(p, 1, 8 * PAGE);
	ck_assert(page_table(p, &before));
	ck_assert_uint_eq(before.cache, PEERBAR_TEST_CACHE_WB);
	ck_assert_int_eq(test_move(exporter, fd, PEERBAR_TEST_PLACE_THERE), PEERBAR_TEST_PLACE_B);
	ck_assert(!page_table(p, &after));
	ck_assert_uint_eq(p[0], 1);
	ck_assert(page_table(p, &after));
	ck_assert_uint_ne(before.pfn, after.pfn);
	/* Let it move by itself, every 5 ms. */
	ck_assert_int_eq(test_automove(exporter, fd, 5), 0);
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		round = round % 80 + 1;
		for (i = 0; i < 8; i++)
			p[i * PAGE + round] = (uint8_t)round;
		for (i = 0; i < 8; i++)
			ck_assert_uint_eq(p[i * PAGE + round], round);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - start.tv_sec < 3);
	ck_assert_int_eq(test_automove(exporter, fd, 0), 0);
	ck_assert_int_eq(test_where(exporter, fd, PEERBAR_TEST_PLACE_HERE, 0, &where), 0);
	ck_assert_msg(where.moves > 20, "it moved %u times only", where.moves);
	munmap(p, 8 * PAGE);
	close(fd);
}
END_TEST

/* ---- F9: addresses ---- */

static uint64_t bar_address(void)
{
	char path[100], line[100];
	unsigned long long start = 0;
	FILE *f;
	int i;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource", lab_bdf(LAB_GPU));
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	for (i = 0; i <= GPU_BAR; i++)
		ck_assert_ptr_nonnull(fgets(line, sizeof(line), f));
	fclose(f);
	ck_assert_int_eq(sscanf(line, "%llx", &start), 1);
	ck_assert_uint_ne(start, 0);
	return start;
}

START_TEST(chunks)
{
	const struct pb_range ranges[] = {
		{ 4 * MIB, 2 * PAGE },
		{ 0, 4 * MIB },
	};
	struct pb_buffer *buffer = export_ranges(ranges, 2);
	int fd = pb_buffer_fd(buffer);
	int handle = test_import_attach(importer, fd, PEERBAR_TEST_KIND_REVOCABLE, 0,
					lab_bdf(LAB_NIC));
	struct peerbar_test_chunks c;
	uint64_t bar = bar_address();

	ck_assert_int_gt(handle, 0);
	ck_assert_int_eq(test_import_chunks(importer, handle, &c), 0);
	ck_assert_uint_eq(c.nr_chunks, 1);
	ck_assert_uint_eq(c.chunks[0].has_provider, 1);
	ck_assert_uint_eq(c.chunks[0].nr_addrs, 2);
	ck_assert_uint_eq(c.addrs[0].addr, bar + 4 * MIB);
	ck_assert_uint_eq(c.addrs[0].len, 2 * PAGE);
	ck_assert_uint_eq(c.addrs[1].addr, bar);
	ck_assert_uint_eq(c.addrs[1].len, 4 * MIB);
	/*
	 * Fails while the buffer is revoked, and always for an importer that cannot be invalidated.
	 */
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ck_assert_int_eq(test_import_chunks(importer, handle, &c), -ENODEV);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ck_assert_int_eq(test_import_chunks(importer, handle, &c), 0);
	ck_assert_int_eq(test_import_detach(importer, handle), 0);
	pb_buffer_close(buffer);

	fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_CORE, PEERBAR_MODEL_DYNAMIC, PAGE);
	handle = test_import_attach(importer, fd, PEERBAR_TEST_KIND_STATIC, PEERBAR_TEST_ATTACH_ANY,
				    NULL);
	ck_assert_int_gt(handle, 0);
	ck_assert_int_eq(test_import_chunks(importer, handle, &c), -EOPNOTSUPP);
	close(fd);
}
END_TEST

static unsigned int order_at(int handle, uint64_t offset, unsigned int max, uint64_t pfn)
{
	struct peerbar_test_pfn p;

	ck_assert_int_eq(test_import_pfn(importer, handle, offset, max, &p), 0);
	ck_assert_uint_eq(p.pfn, pfn);
	return p.order;
}

START_TEST(page_frames)
{
	const struct pb_range ranges[] = {
		{ 4 * MIB, 2 * PAGE },
		{ 0, 4 * MIB },
	};
	struct pb_buffer *all = export_one(0, 256 * MIB), *two = export_ranges(ranges, 2);
	int whole = test_import_attach(importer, pb_buffer_fd(all), PEERBAR_TEST_KIND_REVOCABLE, 0,
				       lab_bdf(LAB_NIC));
	int split = test_import_attach(importer, pb_buffer_fd(two), PEERBAR_TEST_KIND_REVOCABLE, 0,
				       lab_bdf(LAB_NIC));
	uint64_t bar = bar_address() / PAGE;
	struct peerbar_test_pfn p;
	unsigned int order;

	ck_assert(whole > 0 && split > 0);
	/* The whole BAR is one block, up to the order that the importer requests. */
	for (order = 0; order <= 16; order++) {
		ck_assert_uint_eq(order_at(whole, 0, order, bar), order);
		ck_assert_uint_eq(order_at(whole, 12345 * PAGE, order, bar + 12345), order);
		ck_assert_uint_eq(order_at(whole, 256 * MIB - PAGE, order, bar + 65535), order);
	}
	ck_assert_uint_eq(order_at(whole, 0, 40, bar), 16);
	/* Blocks end with their range, and where offsets and addresses are not congruent. */
	ck_assert_uint_eq(order_at(split, 0, 9, bar + 1024), 1);
	ck_assert_uint_eq(order_at(split, PAGE, 9, bar + 1025), 1);
	ck_assert_uint_eq(order_at(split, 2 * PAGE, 9, bar), 1);
	ck_assert_uint_eq(order_at(split, 3 * PAGE, 9, bar + 1), 1);
	ck_assert_uint_eq(order_at(split, 2 * MIB, 9, bar + 510), 1);
	ck_assert_uint_eq(order_at(split, 4 * MIB + PAGE, 9, bar + 1023), 1);
	ck_assert_int_eq(test_import_pfn(importer, split, 4 * MIB + 2 * PAGE, 9, &p), -ERANGE);
	ck_assert_int_eq(test_import_pfn(importer, split, 100, 9, &p), -EINVAL);
	ck_assert_int_eq(test_import_pfn(importer, split, ~0ULL << 12, 9, &p), -ERANGE);
	pb_buffer_close(all);
	pb_buffer_close(two);
}
END_TEST

LAB_SUITE("model", 0)
{
	TCase *t = suite_case(s, "all", 60, model_up, model_down);

	tcase_add_test(t, of_our_buffers);
	tcase_add_test(t, of_the_stock_driver);
	tcase_add_test(t, of_others);
	tcase_add_test(t, of_the_test_exporter);
	tcase_add_test(t, of_what_is_no_dma_buf);
	tcase_add_test(t, importers_take_what_they_can);
	tcase_add_test(t, an_importer_that_is_no_peer);
	tcase_add_test(t, iommufd_refuses);
	tcase_add_loop_test(t, it_moves, 0, 2);
	tcase_add_test(t, it_moves_under_a_process);
	tcase_add_test(t, a_pinned_one_is_taken_away);
	tcase_add_test(t, chunks);
	tcase_add_test(t, page_frames);
}
