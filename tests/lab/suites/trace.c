// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The trace events of buffers. The suite rdma-watch has those of the verbs device. */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "modules.h"
#include "testmod.h"
#include "tracefs.h"

/*
 * The delay of importers that unmap on request. It bounds the machine's wait if the test fails
 * before.
 */
#define LONG 30000

#define SIZE (2 * PAGE)

static int importer;

static void up(void)
{
	modules_up();
	importer = test_importer_open();
	trace_up();
}

static void down(void)
{
	trace_down();
	close(importer);
	modules_down();
}

static uint64_t id_of(struct pb_buffer *buffer)
{
	return query(pb_buffer_fd(buffer)).id;
}

static int attach(struct pb_buffer *buffer, enum peerbar_test_kind kind, const char *device)
{
	bool late = kind == PEERBAR_TEST_KIND_LATE || kind == PEERBAR_TEST_KIND_FENCED;
	int handle = test_import_attach_late(importer, pb_buffer_fd(buffer), kind, 0, device,
					     late ? LONG : 0);

	ck_assert_msg(handle > 0, "cannot attach: %s", strerror(-handle));
	return handle;
}

START_TEST(states)
{
	struct pb_buffer *buffer = export_one(MIB, SIZE), *other;
	uint64_t id = id_of(buffer);

	traced("peerbar_state", "id=%" PRIu64 " name=%s/BAR2 old=NONE new=LIVE reason=created", id,
	       lab_bdf(LAB_GPU));
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	traced("peerbar_state", "id=%" PRIu64 " old=LIVE new=REVOKED reason=revoked", id);
	/* vfio-pci-core waits by itself. */
	not_traced("peerbar_drain_begin", "id=%" PRIu64, id);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	state_is(pb_buffer_fd(buffer), PEERBAR_STATE_LIVE);
	traced("peerbar_state", "id=%" PRIu64 " old=REVOKED new=LIVE reason=restored", id);
	ck_assert_int_eq(feature_revoke(fixture.gpu, pb_buffer_fd(buffer)), 0);
	traced("peerbar_state", "id=%" PRIu64 " old=LIVE new=DEAD reason=killed", id);
	pb_buffer_close(buffer);
	/* A buffer that is closed while it is LIVE, and one that was revoked for a time only. */
	buffer = export_one(MIB, SIZE);
	other = export_one(0, SIZE);
	id = id_of(buffer);
	ck_assert_uint_gt(id_of(other), id);
	pb_buffer_close(buffer);
	traced("peerbar_state", "id=%" PRIu64 " old=LIVE new=DEAD reason=released", id);
	id = id_of(other);
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	pb_buffer_close(other);
	traced("peerbar_state", "id=%" PRIu64 " old=REVOKED new=DEAD reason=released", id);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
}
END_TEST

START_TEST(importers)
{
	const char *nic = lab_bdf(LAB_NIC), *nvme = lab_bdf(LAB_NVME), *line;
	struct pb_buffer *buffer = export_one(MIB, SIZE);
	uint64_t id = id_of(buffer);
	int a, b;

	a = attach(buffer, PEERBAR_TEST_KIND_REVOCABLE, nic);
	traced("peerbar_attach", "id=%" PRIu64 " name=%s/BAR2 importer=%s ret=0", id,
	       lab_bdf(LAB_GPU), nic);
	b = attach(buffer, PEERBAR_TEST_KIND_REVOCABLE, nvme);
	traced("peerbar_attach", "id=%" PRIu64 " importer=%s ret=0", id, nvme);
	ck_assert_int_eq(test_import_map(importer, a, NULL), 0);
	traced("peerbar_map",
	       "id=%" PRIu64 " name=%s/BAR2 importer=%s bytes=%llu dir=0 maps=1 ret=0", id,
	       lab_bdf(LAB_GPU), nic, SIZE);
	ck_assert_int_eq(test_import_map(importer, b, NULL), 0);
	traced("peerbar_map", "id=%" PRIu64 " importer=%s bytes=%llu dir=0 maps=2 ret=0", id, nvme,
	       SIZE);
	ck_assert_int_eq(test_import_unmap(importer, a), 0);
	traced("peerbar_unmap",
	       "id=%" PRIu64 " name=%s/BAR2 importer=%s bytes=%llu maps=1 state=LIVE", id,
	       lab_bdf(LAB_GPU), nic, SIZE);
	usleep(100000);
	ck_assert_int_eq(test_import_detach(importer, a), 0);
	line = traced("peerbar_detach", "id=%" PRIu64 " name=%s/BAR2 importer=%s", id,
		      lab_bdf(LAB_GPU), nic);
	ck_assert_uint_ge(trace_number(line, "attached_ns"), 100000000);
	ck_assert_uint_lt(trace_number(line, "attached_ns"), 100000000000);
	/* Nobody else attached, mapped or unmapped. */
	not_traced("peerbar_detach", "id=%" PRIu64 " importer=%s", id, nvme);
	not_traced("peerbar_unmap", "id=%" PRIu64 " importer=%s", id, nvme);
	/* A revocation ends with the last unmap. */
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	traced("peerbar_unmap", "id=%" PRIu64 " importer=%s maps=0 state=REVOKED", id, nvme);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(refusals)
{
	const char *nic = lab_bdf(LAB_NIC), *nvme = lab_bdf(LAB_NVME);
	struct pb_buffer *buffer = export_one(MIB, SIZE);
	int fd = pb_buffer_fd(buffer), idle = attach(buffer, PEERBAR_TEST_KIND_REVOCABLE, nvme);
	uint64_t id = id_of(buffer);

	ck_assert_int_eq(test_import_attach(importer, fd, PEERBAR_TEST_KIND_STATIC,
					    PEERBAR_TEST_ATTACH_ANY, nic),
			 -EOPNOTSUPP);
	traced("peerbar_attach", "id=%" PRIu64 " importer=%s ret=%d", id, nic, -EOPNOTSUPP);
	ck_assert_int_eq(feature_revoke(fixture.gpu, fd), 0);
	ck_assert_int_eq(test_import_attach(importer, fd, PEERBAR_TEST_KIND_REVOCABLE, 0, nic),
			 -ENODEV);
	traced("peerbar_attach", "id=%" PRIu64 " importer=%s ret=%d", id, nic, -ENODEV);
	ck_assert_int_eq(test_import_map(importer, idle, NULL), -ENODEV);
	traced("peerbar_map", "id=%" PRIu64 " importer=%s maps=0 ret=%d", id, nvme, -ENODEV);
	not_traced("peerbar_attach", "id=%" PRIu64 " importer=%s ret=0", id, nic);
	not_traced("peerbar_detach", "id=%" PRIu64, id);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(addresses)
{
	struct pb_buffer *buffer = export_one(MIB, SIZE);
	uint64_t id = id_of(buffer);
	struct pb_mapping *mapping = map_rw(buffer);

	traced("peerbar_attach", "id=%" PRIu64 " importer=iommu ret=0", id);
	traced("peerbar_addresses", "id=%" PRIu64 " name=%s/BAR2 importer=iommu bytes=%llu", id,
	       lab_bdf(LAB_GPU), SIZE);
	not_traced("peerbar_map", "id=%" PRIu64, id);
	ok(pb_unmap(mapping, &err));
	traced("peerbar_detach", "id=%" PRIu64 " importer=iommu", id);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(faults)
{
	struct pb_buffer *buffer = export_one(MIB, SIZE);
	uint8_t *p = map_fd(pb_buffer_fd(buffer), 0, SIZE);
	uint64_t id = id_of(buffer);

	ck_assert_ptr_nonnull(p);
	ck_assert(can_read(p + PAGE, NULL));
	traced("peerbar_fault",
	       "id=%" PRIu64 " name=%s/BAR2 address=0x%lx offset=0x1000 order=0 result=NOPAGE", id,
	       lab_bdf(LAB_GPU), (unsigned long)(uintptr_t)(p + PAGE));
	not_traced("peerbar_fault", "id=%" PRIu64 " offset=0x0", id);
	ck_assert_int_eq(feature_revoke(fixture.gpu, pb_buffer_fd(buffer)), 0);
	ck_assert(!can_read(p, NULL));
	traced("peerbar_fault", "id=%" PRIu64 " address=0x%lx offset=0x0 order=0 result=SIGBUS", id,
	       (unsigned long)(uintptr_t)p);
	munmap(p, SIZE);
	pb_buffer_close(buffer);
}
END_TEST

/* ---- waiting for importers ---- */

static int revoke_result;

static void nothing(int sig)
{
	(void)sig;
}

static void *revoke_buffer(void *fd)
{
	revoke_result = feature_revoke(fixture.gpu, *(int *)fd);
	return NULL;
}

START_TEST(a_late_importer)
{
	const char *nic = lab_bdf(LAB_NIC), *line;
	struct pb_buffer *buffer = export_one(MIB, SIZE);
	int fd = pb_buffer_fd(buffer), late = attach(buffer, PEERBAR_TEST_KIND_LATE, nic);
	int other = attach(buffer, PEERBAR_TEST_KIND_REVOCABLE, lab_bdf(LAB_NVME));
	uint64_t id = id_of(buffer), duration;
	pthread_t thread;

	ck_assert_int_eq(test_import_map(importer, late, NULL), 0);
	ck_assert_int_eq(test_import_map(importer, other, NULL), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, revoke_buffer, &fd), 0);
	traced("peerbar_drain_begin", "id=%" PRIu64 " name=%s/BAR2 maps=1 fences=0", id,
	       lab_bdf(LAB_GPU));
	not_traced("peerbar_drain_end", "id=%" PRIu64, id);
	usleep(300000);
	ck_assert_int_eq(test_import_release(importer, late), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(revoke_result, 0);
	traced("peerbar_unmap", "id=%" PRIu64 " importer=%s maps=0 state=DEAD", id, nic);
	line = traced("peerbar_drain_end",
		      "id=%" PRIu64 " name=%s/BAR2 waited=unmap importer=%s ret=0", id,
		      lab_bdf(LAB_GPU), nic);
	duration = trace_number(line, "duration_ns");
	ck_assert_msg(duration >= 300000000 && duration < LONG * 1000000ULL, "%" PRIu64 " ns: %s",
		      duration, line);
	pb_buffer_close(buffer);
}
END_TEST

/* A signal ends the wait for a fence. */
START_TEST(a_fence)
{
	struct sigaction action = { .sa_handler = nothing }; /* no SA_RESTART */
	struct pb_buffer *buffer = export_one(MIB, SIZE);
	int fd = pb_buffer_fd(buffer),
	    fenced = attach(buffer, PEERBAR_TEST_KIND_FENCED, lab_bdf(LAB_NIC));
	uint64_t id = id_of(buffer);
	pthread_t thread;
	const char *line;

	ck_assert_int_eq(test_import_map(importer, fenced, NULL), 0);
	sigaction(SIGUSR1, &action, NULL);
	ck_assert_int_eq(pthread_create(&thread, NULL, revoke_buffer, &fd), 0);
	traced("peerbar_drain_begin", "id=%" PRIu64 " maps=1 fences=1", id);
	usleep(200000);
	ck_assert_int_eq(pthread_kill(thread, SIGUSR1), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(revoke_result, -EINTR);
	line = traced("peerbar_drain_end",
		      "id=%" PRIu64 " waited=fence importer=" PEERBAR_TEST_IMPORTER, id);
	ck_assert_msg(!strstr(line, " ret=0"), "an interrupted wait: %s", line);
	ck_assert_int_eq(test_import_release(importer, fenced), 0);
	pb_buffer_close(buffer);
}
END_TEST

/* A revoke that has nobody to wait for. */
START_TEST(no_wait)
{
	struct pb_buffer *buffer = export_one(MIB, SIZE);
	int handle = attach(buffer, PEERBAR_TEST_KIND_REVOCABLE, lab_bdf(LAB_NIC));
	uint64_t id = id_of(buffer);

	ck_assert_int_eq(test_import_map(importer, handle, NULL), 0);
	ck_assert_int_eq(feature_revoke(fixture.gpu, pb_buffer_fd(buffer)), 0);
	traced("peerbar_unmap", "id=%" PRIu64 " maps=0 state=DEAD", id);
	not_traced("peerbar_drain_end", "id=%" PRIu64 " waited=unmap", id);
	not_traced("peerbar_drain_end", "id=%" PRIu64 " waited=fence", id);
	pb_buffer_close(buffer);
}
END_TEST

LAB_SUITE("trace", 0)
{
	TCase *t = suite_case(s, "all", 120, up, down);

	tcase_add_test(t, states);
	tcase_add_test(t, importers);
	tcase_add_test(t, refusals);
	tcase_add_test(t, addresses);
	tcase_add_test(t, faults);
	tcase_add_test(t, a_late_importer);
	tcase_add_test(t, a_fence);
	tcase_add_test(t, no_wait);
}
