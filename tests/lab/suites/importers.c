// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The lists of a buffer's importers, by PEERBAR_IMPORTERS and by netlink: what they have mapped, and
 * which of them holds up a revoke.
 */
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "kernel-exporters.h"
#include "modules.h"
#include "raw-ioctl.h"
#include "testmod.h"

/*
 * The delay of importers that unmap on request. It bounds the machine's wait if the test fails
 * before.
 */
#define LONG 30000

#define SIZE   (2 * PAGE)
#define ROOM   8
#define NOBODY 65534 /* a user */

static int importer;

static void importers_up(void)
{
	modules_up();
	importer = test_importer_open();
}

static void importers_down(void)
{
	close(importer);
	modules_down();
}

static uint64_t boottime_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Copy the name that the kernel reports for a function's driver. */
static void driver_name(const char *bdf, char *name, size_t size)
{
	raw_driver(bdf, name, size);
	if (!*name)
		snprintf(name, size, "pci");
}

/* ---- the ioctl ---- */

struct listing {
	struct peerbar_importers list;
	struct peerbar_importer importers[ROOM];
	struct peerbar_fence fences[ROOM];
};

/* Return 0, or -errno. */
static int list_raw(struct peerbar_importers *list)
{
	int dev = open("/dev/peerbar", O_RDONLY | O_CLOEXEC), ret;

	if (dev < 0)
		return -errno;
	ret = ioctl(dev, PEERBAR_IMPORTERS, list) ? -errno : 0;
	close(dev);
	return ret;
}

static int list_fd(int fd, struct listing *l)
{
	memset(l, 0, sizeof(*l));
	l->list.size = sizeof(l->list);
	l->list.fd = fd;
	l->list.nr_importers = ROOM;
	l->list.nr_fences = ROOM;
	l->list.importer_size = sizeof(l->importers[0]);
	l->list.fence_size = sizeof(l->fences[0]);
	l->list.importers = (uintptr_t)l->importers;
	l->list.fences = (uintptr_t)l->fences;
	return list_raw(&l->list);
}

/* List, and check what holds for every list. */
static struct listing listed(int fd)
{
	uint64_t before = boottime_ns(), last = 0;
	struct listing l;
	unsigned int i;
	int ret = list_fd(fd, &l);

	ck_assert_msg(!ret, "the importers of descriptor %d are not listed: %s", fd,
		      strerror(-ret));
	ck_assert_uint_eq(l.list.size, sizeof(l.list));
	ck_assert_uint_eq(l.list.importer_size, sizeof(l.importers[0]));
	ck_assert_uint_eq(l.list.fence_size, sizeof(l.fences[0]));
	ck_assert_uint_le(l.list.nr_importers, ROOM);
	ck_assert_uint_le(l.list.nr_fences, ROOM);
	ck_assert(before <= l.list.now_ns && l.list.now_ns <= boottime_ns());
	for (i = 0; i < l.list.nr_importers; i++) {
		const struct peerbar_importer *p = &l.importers[i];

		ck_assert_msg(p->id > last, "importer %u has the id %llu, after %llu", i,
			      (unsigned long long)p->id, (unsigned long long)last);
		last = p->id;
		ck_assert(p->attached_ns && p->attached_ns <= l.list.now_ns);
		ck_assert(!p->mapped_ns ||
			  (p->attached_ns <= p->mapped_ns && p->mapped_ns <= l.list.now_ns));
	}
	return l;
}

/* Check an importer that has no access now. */
static void is_idle(const struct peerbar_importer *p, const char *device)
{
	ck_assert_str_eq(p->device, device);
	ck_assert_uint_eq(p->maps, 0);
	ck_assert_uint_eq(p->bytes, 0);
	ck_assert_uint_eq(p->mapped_ns, 0);
	ck_assert_uint_eq(p->flags, PEERBAR_IMPORTER_REVOCABLE);
}

/* Check an importer with one DMA mapping, made between two times. */
static void is_mapped(const struct peerbar_importer *p, const char *device, uint64_t since,
		      uint64_t until)
{
	ck_assert_str_eq(p->device, device);
	ck_assert_uint_eq(p->maps, 1);
	ck_assert_uint_eq(p->bytes, SIZE);
	ck_assert_msg(since <= p->mapped_ns && p->mapped_ns <= until,
		      "%s: mapped at %llu, not between %llu and %llu", device,
		      (unsigned long long)p->mapped_ns, (unsigned long long)since,
		      (unsigned long long)until);
	ck_assert_uint_eq(p->flags & ~PEERBAR_IMPORTER_WAITED_FOR, PEERBAR_IMPORTER_REVOCABLE);
}

static int attach(int fd, enum peerbar_test_kind kind, const char *device)
{
	bool late = kind == PEERBAR_TEST_KIND_LATE || kind == PEERBAR_TEST_KIND_FENCED;
	int handle = test_import_attach_late(importer, fd, kind, 0, device, late ? LONG : 0);

	ck_assert_msg(handle > 0, "cannot attach: %s", strerror(-handle));
	return handle;
}

static int attach_mapped(int fd, enum peerbar_test_kind kind, const char *device)
{
	int handle = attach(fd, kind, device);

	ck_assert_int_eq(test_import_map(importer, handle, NULL), 0);
	return handle;
}

/* ---- importers of a LIVE buffer ---- */

START_TEST(nobody)
{
	struct pb_buffer *buffer = export_one(MIB, SIZE);
	struct listing l = listed(pb_buffer_fd(buffer));

	ck_assert_uint_eq(l.list.nr_importers, 0);
	ck_assert_uint_eq(l.list.nr_fences, 0);
	ck_assert_uint_eq(l.list.state, PEERBAR_STATE_LIVE);
	ck_assert_uint_eq(l.list.revoked_ns, 0);
	ck_assert_uint_eq(l.list.id, query(pb_buffer_fd(buffer)).id);
	ck_assert_int_eq(l.list.fd, pb_buffer_fd(buffer));
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(each_kind)
{
	const char *nic = lab_bdf(LAB_NIC), *nvme = lab_bdf(LAB_NVME);
	struct pb_buffer *buffer = export_one(MIB, SIZE);
	int fd = pb_buffer_fd(buffer), idle, late, fenced;
	uint64_t begin = boottime_ns(), mapped, end;
	char driver[32];
	struct listing l;

	idle = attach(fd, PEERBAR_TEST_KIND_REVOCABLE, nic);
	mapped = boottime_ns();
	late = attach_mapped(fd, PEERBAR_TEST_KIND_LATE, nvme);
	/* The same device again, with a mapping of its own. */
	fenced = attach_mapped(fd, PEERBAR_TEST_KIND_FENCED, nic);
	attach_mapped(fd, PEERBAR_TEST_KIND_DYNAMIC, nic);
	end = boottime_ns();
	l = listed(fd);
	ck_assert_uint_eq(l.list.nr_importers, 4);
	ck_assert_uint_eq(l.list.nr_importers, query(fd).importers);
	is_idle(&l.importers[0], nic);
	is_mapped(&l.importers[1], nvme, mapped, end);
	is_mapped(&l.importers[2], nic, mapped, end);
	is_mapped(&l.importers[3], nic, mapped, end);
	ck_assert(begin <= l.importers[0].attached_ns && l.importers[0].attached_ns <= mapped);
	driver_name(nic, driver, sizeof(driver));
	ck_assert_str_eq(l.importers[0].driver, driver);
	driver_name(nvme, driver, sizeof(driver));
	ck_assert_str_eq(l.importers[1].driver, driver);
	ck_assert_uint_eq(l.list.nr_fences, 1);
	ck_assert_str_eq(l.fences[0].driver, PEERBAR_TEST_IMPORTER);
	ck_assert_str_eq(l.fences[0].timeline, PEERBAR_TEST_IMPORTER);
	ck_assert_uint_eq(l.fences[0].seqno, 1);
	/* Nothing is waited for, so a fence that signals is no longer listed. */
	ck_assert_int_eq(test_import_release(importer, fenced), 0);
	ck_assert_uint_eq(listed(fd).list.nr_fences, 0);
	ck_assert_int_eq(test_import_detach(importer, late), 0);
	ck_assert_int_eq(test_import_detach(importer, idle), 0);
	ck_assert_uint_eq(listed(fd).list.nr_importers, 2);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(maps_and_unmaps)
{
	const char *nic = lab_bdf(LAB_NIC);
	struct pb_buffer *buffer = export_one(MIB, SIZE);
	int fd = pb_buffer_fd(buffer), handle = attach(fd, PEERBAR_TEST_KIND_REVOCABLE, nic);
	uint64_t since, id, attached;
	struct listing l = listed(fd);
	int i;

	id = l.importers[0].id;
	attached = l.importers[0].attached_ns;
	for (i = 0; i < 3; i++) {
		is_idle(&l.importers[0], nic);
		since = boottime_ns();
		ck_assert_int_eq(test_import_map(importer, handle, NULL), 0);
		is_mapped(&listed(fd).importers[0], nic, since, boottime_ns());
		/* Until it unmaps, the time stays. */
		ck_assert_uint_eq(listed(fd).importers[0].mapped_ns,
				  listed(fd).importers[0].mapped_ns);
		ck_assert_int_eq(test_import_unmap(importer, handle), 0);
		l = listed(fd);
		ck_assert_uint_eq(l.list.nr_importers, 1);
		ck_assert_uint_eq(l.importers[0].id, id);
		ck_assert_uint_eq(l.importers[0].attached_ns, attached);
	}
	/* A new attachment has a new id. */
	ck_assert_int_eq(test_import_detach(importer, handle), 0);
	ck_assert_uint_eq(listed(fd).list.nr_importers, 0);
	attach(fd, PEERBAR_TEST_KIND_REVOCABLE, nic);
	ck_assert_uint_gt(listed(fd).importers[0].id, id);
	pb_buffer_close(buffer);
}
END_TEST

/* iommufd gets addresses instead of a DMA mapping. */
START_TEST(iommufd)
{
	struct pb_buffer *buffer = export_one(MIB, SIZE);
	int fd = pb_buffer_fd(buffer), i;
	uint64_t since = boottime_ns(), until;
	struct pb_mapping *mapping = map_rw(buffer);
	struct listing l;

	until = boottime_ns();
	l = listed(fd);
	ck_assert_uint_eq(l.list.nr_importers, 1);
	ck_assert_str_eq(l.importers[0].device, "iommu");
	ck_assert_str_eq(l.importers[0].driver, "misc");
	ck_assert_uint_eq(l.importers[0].flags,
			  PEERBAR_IMPORTER_REVOCABLE | PEERBAR_IMPORTER_ADDRESSES);
	ck_assert_uint_eq(l.importers[0].maps, 0);
	ck_assert_uint_eq(l.importers[0].bytes, SIZE);
	ck_assert(since <= l.importers[0].mapped_ns && l.importers[0].mapped_ns <= until);
	/* A revocation takes the addresses away, and the attachment stays. */
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	l = listed(fd);
	ck_assert_uint_eq(l.list.state, PEERBAR_STATE_REVOKED);
	ck_assert_uint_eq(l.list.nr_importers, 1);
	is_idle(&l.importers[0], "iommu");
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ok(pb_mapping_restore(mapping, &err));
	for (i = 0, l = listed(fd);
	     i < ROOM && !(l.importers[i].flags & PEERBAR_IMPORTER_ADDRESSES);)
		i++;
	ck_assert_int_lt(i, ROOM);
	ck_assert_uint_ge(l.importers[i].mapped_ns, until);
	ok(pb_unmap(mapping, &err));
	ck_assert_uint_eq(listed(fd).list.nr_importers, 0);
	pb_buffer_close(buffer);
}
END_TEST

/* ---- capacities ---- */

START_TEST(capacities)
{
	struct pb_buffer *buffer = export_one(MIB, SIZE);
	int fd = pb_buffer_fd(buffer);
	struct peerbar_importer some[4];
	struct peerbar_importers list;
	const uint8_t *byte;
	uint32_t room;

	attach(fd, PEERBAR_TEST_KIND_REVOCABLE, lab_bdf(LAB_NIC));
	attach(fd, PEERBAR_TEST_KIND_REVOCABLE, lab_bdf(LAB_NVME));
	attach(fd, PEERBAR_TEST_KIND_FENCED, lab_bdf(LAB_NIC));
	/* Only the number: sizes and addresses are ignored. */
	list = (struct peerbar_importers){
		.size = sizeof(list), .fd = fd, .importers = 1, .fences = ~0ULL
	};
	ck_assert_int_eq(list_raw(&list), 0);
	ck_assert_uint_eq(list.nr_importers, 3);
	ck_assert_uint_eq(list.importer_size, sizeof(some[0]));
	for (room = 1; room <= 4; room++) {
		memset(some, 0xa5, sizeof(some));
		list = (struct peerbar_importers){ .size = sizeof(list),
						   .fd = fd,
						   .nr_importers = room,
						   .importer_size = sizeof(some[0]),
						   .importers = (uintptr_t)some };
		ck_assert_int_eq(list_raw(&list), 0);
		ck_assert_uint_eq(list.nr_importers, 3);
		ck_assert_str_eq(some[0].device, lab_bdf(LAB_NIC));
		if (room > 1)
			ck_assert_str_eq(some[1].device, lab_bdf(LAB_NVME));
		for (byte = (uint8_t *)&some[room < 3 ? room : 3]; byte < (uint8_t *)(some + 4);
		     byte++)
			ck_assert_uint_eq(*byte, 0xa5);
	}
	pb_buffer_close(buffer);
}
END_TEST

/* A program of the future has larger elements, and gets zeros for what the kernel does not have. */
START_TEST(larger_elements)
{
	struct {
		struct peerbar_importer importer;
		uint64_t more[3];
	} elements[2];
	struct pb_buffer *buffer = export_one(MIB, SIZE);
	struct peerbar_importers list = { .size = sizeof(list),
					  .fd = pb_buffer_fd(buffer),
					  .nr_importers = 2,
					  .importer_size = sizeof(elements[0]),
					  .importers = (uintptr_t)elements };
	int i;

	attach(pb_buffer_fd(buffer), PEERBAR_TEST_KIND_REVOCABLE, lab_bdf(LAB_NIC));
	attach(pb_buffer_fd(buffer), PEERBAR_TEST_KIND_REVOCABLE, lab_bdf(LAB_NVME));
	memset(elements, 0xa5, sizeof(elements));
	ck_assert_int_eq(list_raw(&list), 0);
	ck_assert_uint_eq(list.importer_size, sizeof(struct peerbar_importer));
	ck_assert_str_eq(elements[1].importer.device, lab_bdf(LAB_NVME));
	for (i = 0; i < 2; i++)
		ck_assert(!elements[i].more[0] && !elements[i].more[1] && !elements[i].more[2]);
	list.nr_importers = 2;
	list.importer_size = sizeof(struct peerbar_importer) - 1;
	ck_assert_int_eq(list_raw(&list), -EINVAL);
	list.importer_size = (uint32_t)PAGE + 1;
	ck_assert_int_eq(list_raw(&list), -E2BIG);
	list.importer_size = sizeof(struct peerbar_importer);
	list.importers = 0;
	ck_assert_int_eq(list_raw(&list), -EFAULT);
	pb_buffer_close(buffer);
}
END_TEST

/* ---- revokes ---- */

enum way { REVOKE, DECODING };

static enum way way;
static int revoked_fd;

static void *revoke_buffer(void *arg)
{
	(void)arg;
	if (way == REVOKE)
		ck_assert_int_eq(feature_revoke(fixture.gpu, revoked_fd), 0);
	else
		ok(pb_device_set_decoding(fixture.gpu, false, &err));
	return NULL;
}

/* Revoke in a thread. Return when the only task left is the importer's. */
static pthread_t revoke_until_it_hangs(int fd, enum way how, int late)
{
	pthread_t thread;
	int i;

	way = how;
	revoked_fd = fd;
	ck_assert_int_eq(pthread_create(&thread, NULL, revoke_buffer, NULL), 0);
	wait_until_stale(importer, late);
	/* Importers are invalidated one after the other: wait for those that unmap at once. */
	for (i = 0; i < 2000; i++) {
		struct listing l = listed(fd);
		unsigned int busy = 0, j;

		for (j = 0; j < l.list.nr_importers; j++)
			busy += l.importers[j].mapped_ns != 0;
		if (busy == 1)
			return thread;
		usleep(10000);
	}
	ck_abort_msg("several importers keep the memory");
}

static void revoke_ends(pthread_t thread, int late)
{
	ck_assert_int_eq(test_import_release(importer, late), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

START_TEST(a_revoke_that_hangs)
{
	enum peerbar_test_kind kind = _i & 1 ? PEERBAR_TEST_KIND_FENCED : PEERBAR_TEST_KIND_LATE;
	enum peerbar_state state = _i & 2 ? PEERBAR_STATE_REVOKED : PEERBAR_STATE_DEAD;
	const char *nic = lab_bdf(LAB_NIC), *nvme = lab_bdf(LAB_NVME);
	struct pb_buffer *buffer = export_one(MIB, SIZE);
	struct pb_mapping *mapping = map_rw(buffer);
	int fd = pb_buffer_fd(buffer), late, i;
	uint64_t begin, mapped;
	struct listing l;
	pthread_t thread;

	attach_mapped(fd, PEERBAR_TEST_KIND_REVOCABLE, nic);
	late = attach_mapped(fd, kind, nvme);
	attach(fd, PEERBAR_TEST_KIND_REVOCABLE, nic);
	l = listed(fd);
	ck_assert_uint_eq(l.list.nr_importers, 4);
	mapped = l.importers[2].mapped_ns;
	for (i = 0; i < 4; i++)
		ck_assert(!(l.importers[i].flags & PEERBAR_IMPORTER_WAITED_FOR));
	begin = boottime_ns();
	thread = revoke_until_it_hangs(fd, _i & 2 ? DECODING : REVOKE, late);
	for (i = 0; i < 5; i++) {
		/* The list comes while the revoke waits: the importer still has its mapping after it. */
		l = listed(fd);
		ck_assert(test_import_is(importer, late, PEERBAR_TEST_STATUS_MAPPED));
		ck_assert_uint_eq(l.list.state, state);
		ck_assert(begin <= l.list.revoked_ns && l.list.revoked_ns <= l.list.now_ns);
		ck_assert_uint_eq(l.list.nr_importers, 4);
		is_idle(&l.importers[0], "iommu");
		is_idle(&l.importers[1], nic);
		is_mapped(&l.importers[2], nvme, mapped, mapped);
		ck_assert_uint_eq(l.importers[2].flags,
				  PEERBAR_IMPORTER_REVOCABLE | PEERBAR_IMPORTER_WAITED_FOR);
		is_idle(&l.importers[3], nic);
		ck_assert_uint_eq(l.list.nr_fences, _i & 1);
		if (_i & 1) {
			ck_assert_str_eq(l.fences[0].driver, PEERBAR_TEST_IMPORTER);
			ck_assert_str_eq(l.fences[0].timeline, PEERBAR_TEST_IMPORTER);
		}
		usleep(100000);
	}
	ck_assert_uint_ge(l.list.now_ns - l.list.revoked_ns, 400000000);
	revoke_ends(thread, late);
	l = listed(fd);
	ck_assert_uint_eq(l.list.state, state);
	ck_assert_uint_eq(l.list.nr_importers, 4);
	ck_assert_uint_eq(l.list.nr_fences, 0);
	is_idle(&l.importers[2], nvme);
	ck_assert_uint_ge(l.list.revoked_ns, begin);
	if (_i & 2) {
		ok(pb_device_set_decoding(fixture.gpu, true, &err));
		state_is(fd, PEERBAR_STATE_LIVE);
		l = listed(fd);
		ck_assert_uint_eq(l.list.state, PEERBAR_STATE_LIVE);
		ck_assert_uint_eq(l.list.revoked_ns, 0);
	}
	ok(pb_unmap(mapping, &err));
	pb_buffer_close(buffer);
}
END_TEST

/* An importer that pinned a DYNAMIC buffer keeps its mapping, and no revoke waits for it. */
START_TEST(a_pinned_one)
{
	int exporter = test_exporter_open(), handle;
	int fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_CORE, PEERBAR_MODEL_DYNAMIC, SIZE);
	struct listing l;

	ck_assert_int_ge(fd, 0);
	handle = test_import_attach(importer, fd, PEERBAR_TEST_KIND_PINNING,
				    PEERBAR_TEST_ATTACH_ANY, NULL);
	ck_assert_int_gt(handle, 0);
	ck_assert_uint_eq(listed(fd).importers[0].flags, PEERBAR_IMPORTER_PINNED);
	ck_assert_int_eq(test_import_map(importer, handle, NULL), 0);
	ck_assert_int_eq(test_kill(exporter, fd), -EBUSY);
	l = listed(fd);
	ck_assert_uint_eq(l.list.state, PEERBAR_STATE_DEAD);
	ck_assert_uint_eq(l.list.nr_importers, 1);
	ck_assert_uint_eq(l.importers[0].flags, PEERBAR_IMPORTER_PINNED);
	ck_assert_uint_eq(l.importers[0].maps, 1);
	ck_assert_str_eq(l.importers[0].device, PEERBAR_TEST_IMPORTER);
	ck_assert_str_eq(l.importers[0].driver, "misc");
	ck_assert_int_eq(test_import_detach(importer, handle), 0);
	close(fd);
	close(exporter);
}
END_TEST

/* ---- what has no list ---- */

START_TEST(of_another_exporter)
{
	int exporter = test_exporter_open(), null = open("/dev/null", O_RDONLY | O_CLOEXEC), fds[4],
	    i;
	struct listing l;

	fds[0] = export_udmabuf(SIZE);
	fds[1] = export_system_heap(SIZE);
	fds[2] = test_export_one(exporter, PEERBAR_TEST_SOURCE_FOREIGN, PEERBAR_MODEL_REVOCABLE,
				 SIZE);
	fds[3] = test_export_one(exporter, PEERBAR_TEST_SOURCE_DECLARED, PEERBAR_MODEL_REVOCABLE,
				 SIZE);
	for (i = 0; i < 4; i++) {
		ck_assert_int_ge(fds[i], 0);
		ck_assert_msg(list_fd(fds[i], &l) == -EOPNOTSUPP, "dma-buf %d: %d", i,
			      list_fd(fds[i], &l));
		close(fds[i]);
	}
	ck_assert_int_eq(list_fd(fds[0], &l), -EBADF);
	ck_assert_int_eq(list_fd(null, &l), -EINVAL);
	close(null);
	close(exporter);
}
END_TEST

/* ---- rights ---- */

/* A descriptor of the buffer is the right to list its importers. */
START_TEST(without_rights)
{
	struct pb_buffer *buffer = export_one(MIB, SIZE);
	int fd = pb_buffer_fd(buffer), child;
	struct listing l;

	attach(fd, PEERBAR_TEST_KIND_REVOCABLE, lab_bdf(LAB_NIC));
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		if (setuid(NOBODY))
			_exit(1);
		if (list_fd(fd, &l) || l.list.nr_importers != 1)
			_exit(2);
		/* Another file gets the number. */
		close(fd);
		_exit(open("/dev/null", O_RDONLY | O_CLOEXEC) == fd && list_fd(fd, &l) == -EINVAL &&
				      !l.importers[0].id ?
			      0 :
			      3);
	}
	ck_assert_int_eq(wait_for(child), 0);
	pb_buffer_close(buffer);
}
END_TEST

/* What the library says when there is nothing to list. */
START_TEST(by_the_library)
{
	struct pb_buffer *buffer = export_one(MIB, SIZE);
	int udmabuf = export_udmabuf(SIZE), null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct pb_importer *list = NULL;
	unsigned int n;

	attach(pb_buffer_fd(buffer), PEERBAR_TEST_KIND_REVOCABLE, lab_bdf(LAB_NIC));
	ok(pb_fd_importers(pb_buffer_fd(buffer), &list, &n, &err));
	ck_assert_uint_eq(n, 1);
	free(list);
	refused(pb_fd_importers(999, &list, &n, &err), EBADF, "descriptor 999 is not open");
	refused(pb_fd_importers(null, &list, &n, &err), EINVAL, "is no dma-buf");
	refused(pb_fd_importers(udmabuf, &list, &n, &err), EOPNOTSUPP,
		"not exported through peerbar's modules");
	close(null);
	close(udmabuf);
	pb_buffer_close(buffer);
}
END_TEST

/* ---- netlink ---- */

typedef void attribute_fn(void *to, uint16_t type, const void *value, size_t size);

static void each_attribute(const void *from, size_t length, attribute_fn *fn, void *to)
{
	const uint8_t *p = from;

	while (length >= NLA_HDRLEN) {
		const struct nlattr *a = (const void *)p;
		size_t whole;

		ck_assert_msg(a->nla_len >= NLA_HDRLEN && a->nla_len <= length,
			      "an attribute has %u bytes of %zu", a->nla_len, length);
		fn(to, a->nla_type & NLA_TYPE_MASK, p + NLA_HDRLEN,
		   a->nla_len - (size_t)NLA_HDRLEN);
		whole = NLA_ALIGN(a->nla_len);
		if (whole >= length)
			return;
		p += whole;
		length -= whole;
	}
}

static uint64_t number(const void *value, size_t size)
{
	uint64_t n = 0;

	ck_assert_uint_le(size, sizeof(n));
	memcpy(&n, value, size);
	return n;
}

static void copy_string(char *to, size_t room, const void *value, size_t size)
{
	ck_assert_uint_le(size, room);
	memcpy(to, value, size);
}

static void importer_attribute(void *to, uint16_t type, const void *value, size_t size)
{
	struct peerbar_importer *p = to;

	switch (type) {
	case PEERBAR_A_ATTACHMENT_ID:
		p->id = number(value, size);
		break;
	case PEERBAR_A_ATTACHMENT_DEVICE:
		copy_string(p->device, sizeof(p->device), value, size);
		break;
	case PEERBAR_A_ATTACHMENT_DRIVER:
		copy_string(p->driver, sizeof(p->driver), value, size);
		break;
	case PEERBAR_A_ATTACHMENT_FLAGS:
		p->flags = (uint32_t)number(value, size);
		break;
	case PEERBAR_A_ATTACHMENT_MAPS:
		p->maps = (uint32_t)number(value, size);
		break;
	case PEERBAR_A_ATTACHMENT_BYTES:
		p->bytes = number(value, size);
		break;
	case PEERBAR_A_ATTACHMENT_ATTACHED_NS:
		p->attached_ns = number(value, size);
		break;
	case PEERBAR_A_ATTACHMENT_MAPPED_NS:
		p->mapped_ns = number(value, size);
		break;
	default:
		break;
	}
}

static void fence_attribute(void *to, uint16_t type, const void *value, size_t size)
{
	struct peerbar_fence *p = to;

	switch (type) {
	case PEERBAR_A_FENCE_DRIVER:
		copy_string(p->driver, sizeof(p->driver), value, size);
		break;
	case PEERBAR_A_FENCE_TIMELINE:
		copy_string(p->timeline, sizeof(p->timeline), value, size);
		break;
	case PEERBAR_A_FENCE_CONTEXT:
		p->context = number(value, size);
		break;
	case PEERBAR_A_FENCE_SEQNO:
		p->seqno = number(value, size);
		break;
	default:
		break;
	}
}

/* A message about one buffer. */
struct message {
	struct listing l;
	unsigned int importers, fences; /* elements found */
};

static void message_attribute(void *to, uint16_t type, const void *value, size_t size)
{
	struct message *m = to;

	switch (type) {
	case PEERBAR_A_ID:
		m->l.list.id = number(value, size);
		break;
	case PEERBAR_A_STATE:
		m->l.list.state = (uint32_t)number(value, size);
		break;
	case PEERBAR_A_NR_IMPORTERS:
		m->l.list.nr_importers = (uint32_t)number(value, size);
		break;
	case PEERBAR_A_NR_FENCES:
		m->l.list.nr_fences = (uint32_t)number(value, size);
		break;
	case PEERBAR_A_REVOKED_NS:
		m->l.list.revoked_ns = number(value, size);
		break;
	case PEERBAR_A_NOW_NS:
		m->l.list.now_ns = number(value, size);
		break;
	case PEERBAR_A_ATTACHMENT:
		ck_assert_uint_lt(m->importers, ROOM);
		each_attribute(value, size, importer_attribute, &m->l.importers[m->importers++]);
		break;
	case PEERBAR_A_FENCE:
		ck_assert_uint_lt(m->fences, ROOM);
		each_attribute(value, size, fence_attribute, &m->l.fences[m->fences++]);
		break;
	default:
		break;
	}
}

static int send_request(const struct raw_genl *g, uint64_t id, bool dump)
{
	struct {
		struct nlmsghdr header;
		struct genlmsghdr generic;
		struct nlattr attribute;
		uint32_t id[2]; /* an attribute's value is not aligned to 8 bytes */
	} m = { .header = { .nlmsg_len = sizeof(m),
			    .nlmsg_type = g->family,
			    .nlmsg_flags = NLM_F_REQUEST,
			    .nlmsg_seq = 1000 },
		.generic = { .cmd = PEERBAR_CMD_IMPORTERS_GET, .version = PEERBAR_GENL_VERSION },
		.attribute = { .nla_len = sizeof(struct nlattr) + sizeof(id),
			       .nla_type = PEERBAR_A_ID } };

	memcpy(m.id, &id, sizeof(id));
	if (dump) {
		m.header.nlmsg_flags |= NLM_F_DUMP;
		m.header.nlmsg_len = NLMSG_HDRLEN + GENL_HDRLEN;
	}
	return send(g->fd, &m, m.header.nlmsg_len, 0) < 0 ? -errno : 0;
}

/*
 * Receive the answer, with the message of buffer @id. Return 0, the error that the kernel answers, or
 * -ENOENT if a dump does not have the buffer.
 */
static int receive_message(const struct raw_genl *g, uint64_t id, bool dump, struct message *found)
{
	static uint64_t room[65536 / 8];
	int ret = -ENOENT, error;

	for (;;) {
		struct nlmsghdr *h = (void *)room;
		ssize_t n = recv(g->fd, room, sizeof(room), 0);

		if (n < 0)
			return -errno;
		for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
			struct message m = { 0 };

			if (h->nlmsg_type == NLMSG_ERROR || h->nlmsg_type == NLMSG_DONE) {
				memcpy(&error, NLMSG_DATA(h), sizeof(error));
				return error ? error : ret;
			}
			each_attribute((uint8_t *)NLMSG_DATA(h) + GENL_HDRLEN,
				       h->nlmsg_len - (size_t)(NLMSG_HDRLEN + GENL_HDRLEN),
				       message_attribute, &m);
			if (m.l.list.id == id) {
				*found = m;
				ret = 0;
			}
			if (!dump)
				return ret;
		}
	}
}

/* List one buffer's importers by a socket of this process. */
static int list_by_netlink(uint64_t id, bool dump, struct message *m)
{
	struct timeval timeout = { .tv_sec = 20 };
	struct raw_genl g;
	int ret = raw_genl_open(&g, false);

	if (ret)
		return ret;
	setsockopt(g.fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	ret = send_request(&g, id, dump);
	if (!ret)
		ret = receive_message(&g, id, dump, m);
	close(g.fd);
	return ret;
}

/* Check that netlink reports the same as the ioctl. */
static void netlink_agrees(int fd)
{
	struct listing want = listed(fd);
	struct message m;
	int dump, ret;

	for (dump = 0; dump < 2; dump++) {
		ret = list_by_netlink(want.list.id, dump, &m);
		ck_assert_msg(!ret, "%s: %s", dump ? "a dump" : "a request", strerror(-ret));
		ck_assert_uint_eq(m.l.list.state, want.list.state);
		ck_assert_uint_eq(m.l.list.revoked_ns, want.list.revoked_ns);
		ck_assert(want.list.now_ns <= m.l.list.now_ns && m.l.list.now_ns <= boottime_ns());
		ck_assert_uint_eq(m.l.list.nr_importers, want.list.nr_importers);
		ck_assert_uint_eq(m.importers, want.list.nr_importers);
		ck_assert_mem_eq(m.l.importers, want.importers, sizeof(want.importers));
		ck_assert_uint_eq(m.l.list.nr_fences, want.list.nr_fences);
		ck_assert_uint_eq(m.fences, want.list.nr_fences);
		ck_assert_mem_eq(m.l.fences, want.fences, sizeof(want.fences));
	}
}

START_TEST(by_netlink)
{
	struct pb_buffer *buffer = export_one(MIB, SIZE), *other = export_one(0, SIZE);
	struct pb_mapping *mapping = map_rw(buffer);
	int fd = pb_buffer_fd(buffer), late;
	pthread_t thread;

	netlink_agrees(pb_buffer_fd(other));
	attach_mapped(fd, PEERBAR_TEST_KIND_REVOCABLE, lab_bdf(LAB_NIC));
	late = attach_mapped(fd, _i & 1 ? PEERBAR_TEST_KIND_FENCED : PEERBAR_TEST_KIND_LATE,
			     lab_bdf(LAB_NVME));
	netlink_agrees(fd);
	/* Also while a revoke hangs. */
	thread = revoke_until_it_hangs(fd, _i & 2 ? DECODING : REVOKE, late);
	netlink_agrees(fd);
	netlink_agrees(pb_buffer_fd(other));
	ck_assert(test_import_is(importer, late, PEERBAR_TEST_STATUS_MAPPED));
	revoke_ends(thread, late);
	netlink_agrees(fd);
	if (_i & 2)
		ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ok(pb_unmap(mapping, &err));
	pb_buffer_close(buffer);
	pb_buffer_close(other);
}
END_TEST

/* Netlink needs no descriptor of the buffer, but CAP_SYS_ADMIN. */
START_TEST(netlink_rights)
{
	struct pb_buffer *buffer = export_one(MIB, SIZE);
	uint64_t id = query(pb_buffer_fd(buffer)).id;
	struct message m;
	int child;

	attach(pb_buffer_fd(buffer), PEERBAR_TEST_KIND_REVOCABLE, lab_bdf(LAB_NIC));
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		memset(&m, 0, sizeof(m));
		if (setuid(NOBODY))
			_exit(1);
		if (list_by_netlink(id, false, &m) != -EPERM)
			_exit(2);
		if (list_by_netlink(id, true, &m) != -EPERM)
			_exit(3);
		_exit(m.importers ? 4 : 0);
	}
	ck_assert_int_eq(wait_for(child), 0);
	ck_assert_int_eq(list_by_netlink(~0ULL >> 1, false, &m), -ENOENT);
	pb_buffer_close(buffer);
}
END_TEST

LAB_SUITE("importers", 0)
{
	TCase *t = suite_case(s, "all", 120, importers_up, importers_down);

	tcase_add_test(t, nobody);
	tcase_add_test(t, each_kind);
	tcase_add_test(t, maps_and_unmaps);
	tcase_add_test(t, iommufd);
	tcase_add_test(t, capacities);
	tcase_add_test(t, larger_elements);
	tcase_add_loop_test(t, a_revoke_that_hangs, 0, 4);
	tcase_add_test(t, a_pinned_one);
	tcase_add_test(t, of_another_exporter);
	tcase_add_test(t, without_rights);
	tcase_add_test(t, by_the_library);
	tcase_add_loop_test(t, by_netlink, 0, 4);
	tcase_add_test(t, netlink_rights);
}
