// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * When a revoke of peerbar's buffers has returned, the memory is unreachable on all paths: DMA,
 * existing mappings of this process and of others, and new ones. A temporary revoke can be undone,
 * a permanent one cannot.
 */
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "modules.h"

/* A buffer with all kinds of users: DMA by edu, a mapping here, and one in another process. */
struct shared {
	struct pb_buffer *buffer;
	int fd;
	struct pb_mapping *mapping;
	uint64_t iova;
	uint64_t offset;
	uint8_t *here;
	pid_t child;
	int ask, answer; /* pipes: for each byte the child answers 'y' if it can reach the
			  * memory, and 'n' if not */
};

static void child_answers(uint8_t *p, int ask, int answer)
{
	char c;

	while (read(ask, &c, 1) == 1) {
		c = can_read(p, NULL) && can_write(p + PAGE, 1) ? 'y' : 'n';
		if (write(answer, &c, 1) != 1)
			break;
	}
	_exit(0);
}

static void share_range(struct shared *s, struct pb_device *device, unsigned int bar,
			uint64_t offset)
{
	struct pb_range range = { offset, 2 * PAGE };
	int ask[2], answer[2];

	ok(pb_buffer_export(device, bar, &range, 1, 0, &s->buffer, &err));
	s->fd = pb_buffer_fd(s->buffer);
	s->offset = offset;
	s->mapping = map_rw(s->buffer);
	s->iova = pb_mapping_iova(s->mapping);
	s->here = map_fd(s->fd, 0, 2 * PAGE);
	ck_assert_ptr_nonnull(s->here);
	ck_assert_int_eq(pipe2(ask, O_CLOEXEC) | pipe2(answer, O_CLOEXEC), 0);
	s->child = fork();
	ck_assert_int_ge(s->child, 0);
	if (!s->child) {
		uint8_t *p = map_fd(s->fd, 0, 2 * PAGE);
		int i;

		/* Keep only the buffer's mapping. */
		for (i = 3; i < 200; i++)
			if (i != ask[0] && i != answer[1])
				close(i);
		munmap(s->here, 2 * PAGE);
		child_answers(p, ask[0], answer[1]);
	}
	close(ask[0]);
	close(answer[1]);
	s->ask = ask[1];
	s->answer = answer[0];
}

static void unshare_range(struct shared *s)
{
	close(s->ask);
	ck_assert_int_eq(wait_for(s->child), 0);
	close(s->answer);
	munmap(s->here, 2 * PAGE);
	if (s->mapping)
		ok(pb_unmap(s->mapping, &err));
	pb_buffer_close(s->buffer);
}

static bool child_can(struct shared *s)
{
	char c = 'r';

	ck_assert_int_eq(write(s->ask, &c, 1), 1);
	ck_assert_int_eq(read(s->answer, &c, 1), 1);
	return c == 'y';
}

static void nobody_reaches(struct shared *s, enum peerbar_state state)
{
	struct pb_mapping *again = NULL;

	ck_assert(!can_read(s->here, NULL));
	ck_assert(!can_write(s->here + PAGE, 1));
	ck_assert(!child_can(s));
	refused(pb_map_buffer(fixture.ioas, s->buffer, 0, 0, RW, 0, &again, &err), ENODEV,
		"revoked");
	state_is(s->fd, state);
}

static void all_reach(struct shared *s)
{
	ck_assert(can_read(s->here, NULL));
	ck_assert(child_can(s));
	state_is(s->fd, PEERBAR_STATE_LIVE);
}

/*
 * mmap() of a dead buffer fails. mmap() of a revoked buffer succeeds, and accesses raise SIGBUS
 * until it is restored.
 */
static void new_mmap(struct shared *s, bool dead)
{
	uint8_t *p = map_fd(s->fd, 0, PAGE);

	if (dead) {
		ck_assert_ptr_null(p);
		ck_assert_int_eq(errno, ENODEV);
		return;
	}
	ck_assert_ptr_nonnull(p);
	ck_assert(!can_read(p, NULL));
	munmap(p, PAGE);
}

/* ---- temporary revokes ---- */

START_TEST(decoding_off)
{
	struct shared s;
	uint8_t mark = 0x5a;

	share_range(&s, fixture.gpu, GPU_BAR, MIB);
	dma_lands(s.iova, s.offset);
	all_reach(&s);
	ck_assert(can_write(s.here + 100, mark));
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	dma_faults(s.iova, s.offset);
	nobody_reaches(&s, PEERBAR_STATE_REVOKED);
	new_mmap(&s, false);
	/*
	 * Existing CPU mappings work again, with the old contents. The IOMMU mapping must be
	 * restored.
	 */
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	all_reach(&s);
	ck_assert_uint_eq(s.here[100], mark);
	dma_faults(s.iova, s.offset);
	ok(pb_mapping_restore(s.mapping, &err));
	dma_lands(s.iova, s.offset);
	unshare_range(&s);
}
END_TEST

START_TEST(function_reset)
{
	struct shared s;

	share_range(&s, fixture.gpu, GPU_BAR, MIB);
	if (lab_has_no_reset()) {
		refused(pb_device_reset(fixture.gpu, &err), EOPNOTSUPP, "cannot be reset");
		all_reach(&s);
		unshare_range(&s);
		return;
	}
	all_reach(&s);
	ok(pb_device_reset(fixture.gpu, &err));
	/* The kernel has restored decoding, but importers were invalidated. */
	ck_assert_int_eq(pb_mapping_state(s.mapping), PB_REVOKED);
	dma_faults(s.iova, s.offset);
	all_reach(&s);
	ok(pb_mapping_restore(s.mapping, &err));
	dma_lands(s.iova, s.offset);
	unshare_range(&s);
}
END_TEST

/* A reset that the core did not start. */
START_TEST(reset_by_sysfs)
{
	struct shared s;
	int round;

	if (lab_has_no_reset())
		return;
	share_range(&s, fixture.gpu, GPU_BAR, MIB);
	for (round = 0; round < 2; round++) {
		all_reach(&s);
		dma_lands(pb_mapping_iova(s.mapping), s.offset);
		lab_reset_by_sysfs(LAB_GPU);
		/* Importers were invalidated. The other users have access again after the reset. */
		dma_faults(pb_mapping_iova(s.mapping), s.offset);
		all_reach(&s);
		ok(pb_unmap(s.mapping, &err));
		s.mapping = map_rw(s.buffer);
	}
	dma_lands(pb_mapping_iova(s.mapping), s.offset);
	unshare_range(&s);
}
END_TEST

START_TEST(hot_reset)
{
	struct vfio_pci_hot_reset reset = { .argsz = sizeof(reset) };
	struct shared s;

	share_range(&s, fixture.gpu, GPU_BAR, MIB);
	all_reach(&s);
	if (ioctl(pb_device_fd(fixture.gpu), VFIO_DEVICE_PCI_HOT_RESET, &reset)) {
		/* There is no bus to reset on the root bus: nothing may have changed. */
		ck_assert_msg(lab_has_no_reset() || strcmp(getenv("LAB_TOPOLOGY"), "ports"),
			      "the hot reset failed: %s", strerror(errno));
		all_reach(&s);
		dma_lands(s.iova, s.offset);
	} else {
		dma_faults(s.iova, s.offset);
		ok(pb_device_set_decoding(fixture.gpu, true, &err));
		all_reach(&s);
		/* The library did not do the reset, and does not know that this mapping is dead. */
		ok(pb_unmap(s.mapping, &err));
		s.mapping = map_rw(s.buffer);
		dma_lands(pb_mapping_iova(s.mapping), s.offset);
	}
	unshare_range(&s);
}
END_TEST

/* The memory of an NVMe, which supports D3hot. */
START_TEST(d3hot)
{
	struct pb_device *device = lab_open(fixture.iommu, LAB_NVME_CMB);
	struct shared s;
	uint8_t at, d3 = 3, d0 = 0;

	ok(pb_device_set_decoding(device, true, &err));
	at = find_capability(device, PCI_CAP_ID_PM);
	share_range(&s, device, CMB_BAR, 0);
	all_reach(&s);
	ok(pb_device_write(device, PB_REGION_CONFIG, at + PCI_PM_CTRL, &d3, 1, &err));
	nobody_reaches(&s, PEERBAR_STATE_REVOKED);
	ok(pb_device_write(device, PB_REGION_CONFIG, at + PCI_PM_CTRL, &d0, 1, &err));
	ok(pb_device_set_decoding(device, true, &err));
	all_reach(&s);
	ok(pb_mapping_restore(s.mapping, &err));
	unshare_range(&s);
	pb_device_close(device);
}
END_TEST

START_TEST(function_level_reset_by_the_guest)
{
	struct pb_device *device = lab_open(fixture.iommu, LAB_NVME_CMB);
	struct shared s;
	uint8_t at, control[2];

	ok(pb_device_set_decoding(device, true, &err));
	at = find_capability(device, PCI_CAP_ID_EXP);
	share_range(&s, device, CMB_BAR, 0);
	ok(pb_device_read(device, PB_REGION_CONFIG, at + PCI_EXP_DEVCTL, control, 2, &err));
	control[1] |= PCI_EXP_DEVCTL_BCR_FLR >> 8;
	ok(pb_device_write(device, PB_REGION_CONFIG, at + PCI_EXP_DEVCTL, control, 2, &err));
	ck_assert_int_eq(pb_mapping_state(s.mapping), PB_REVOKED);
	ok(pb_device_set_decoding(device, true, &err));
	all_reach(&s);
	unshare_range(&s);
	pb_device_close(device);
}
END_TEST

/*
 * A buffer that is exported while decoding is off is REVOKED at first, and LIVE when decoding is
 * on.
 */
START_TEST(exported_while_decoding_is_off)
{
	struct pb_mapping *m = NULL;
	struct pb_buffer *buffer;
	uint8_t *p;

	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	buffer = export_one(MIB, 2 * PAGE);
	state_is(pb_buffer_fd(buffer), PEERBAR_STATE_REVOKED);
	p = map_fd(pb_buffer_fd(buffer), 0, 2 * PAGE);
	ck_assert_ptr_nonnull(p);
	ck_assert(!can_read(p, NULL));
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW, 0, &m, &err), ENODEV, "revoked");
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	state_is(pb_buffer_fd(buffer), PEERBAR_STATE_LIVE);
	ck_assert(can_read(p, NULL));
	m = map_rw(buffer);
	dma_lands(pb_mapping_iova(m), MIB);
	/* From now on it is like any other. */
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ck_assert(!can_read(p, NULL));
	dma_faults(pb_mapping_iova(m), MIB);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ck_assert(can_read(p, NULL));
	munmap(p, 2 * PAGE);
	pb_buffer_close(buffer);
}
END_TEST

/* ---- permanent revokes ---- */

START_TEST(on_request)
{
	struct pb_buffer *fresh;
	struct pb_mapping *m;
	struct shared s;

	share_range(&s, fixture.gpu, GPU_BAR, MIB);
	dma_lands(s.iova, s.offset);
	all_reach(&s);
	ck_assert_int_eq(feature_revoke(fixture.gpu, s.fd), 0);
	dma_faults(s.iova, s.offset);
	nobody_reaches(&s, PEERBAR_STATE_DEAD);
	new_mmap(&s, true);
	/* The second revoke returns EBADFD, which the library treats as success. */
	ck_assert_int_eq(feature_revoke(fixture.gpu, s.fd), -EBADFD);
	ok(pb_buffer_revoke(fixture.gpu, s.buffer, &err));
	/* Decoding off and on has no further effect. */
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	nobody_reaches(&s, PEERBAR_STATE_DEAD);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	nobody_reaches(&s, PEERBAR_STATE_DEAD);
	dma_faults(s.iova, s.offset);
	ck_assert_int_eq(feature_set_memattr(fixture.gpu, s.fd, PEERBAR_MEMATTR_WC), -ENODEV);
	/* The range can be exported again. */
	fresh = export_one(MIB, 2 * PAGE);
	m = map_rw(fresh);
	dma_lands(pb_mapping_iova(m), MIB);
	nobody_reaches(&s, PEERBAR_STATE_DEAD);
	pb_buffer_close(fresh);
	unshare_range(&s);
}
END_TEST

START_TEST(of_what_cannot_be_revoked)
{
	struct pb_buffer *buffer = export_one(0, PAGE);
	int udmabuf = open("/dev/null", O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(feature_revoke(fixture.gpu, 999), -EBADF);
	ck_assert_int_eq(feature_revoke(fixture.gpu, -1), -EBADF);
	ck_assert_int_eq(feature_revoke(fixture.gpu, udmabuf), -EINVAL);
	/* Another device's owner cannot revoke it. */
	ck_assert_int_eq(feature_revoke(fixture.edu_device, pb_buffer_fd(buffer)), -ENODEV);
	state_is(pb_buffer_fd(buffer), PEERBAR_STATE_LIVE);
	close(udmabuf);
	pb_buffer_close(buffer);
}
END_TEST

/* Two buffers of the same memory: revoking one does not affect the other. */
START_TEST(one_of_two)
{
	struct pb_buffer *a = export_one(MIB, 2 * PAGE), *b = export_one(MIB, 2 * PAGE);
	struct pb_mapping *ma = map_rw(a), *mb = map_rw(b);
	uint8_t *pa = map_fd(pb_buffer_fd(a), 0, PAGE), *pb = map_fd(pb_buffer_fd(b), 0, PAGE);

	ck_assert(can_read(pa, NULL) && can_read(pb, NULL));
	ck_assert_int_eq(feature_revoke(fixture.gpu, pb_buffer_fd(a)), 0);
	ck_assert(!can_read(pa, NULL));
	ck_assert(can_read(pb, NULL));
	dma_faults(pb_mapping_iova(ma), MIB);
	dma_lands(pb_mapping_iova(mb), MIB);
	munmap(pa, PAGE);
	munmap(pb, PAGE);
	pb_buffer_close(a);
	pb_buffer_close(b);
}
END_TEST

START_TEST(by_closing_the_device)
{
	struct shared s;

	share_range(&s, fixture.gpu, GPU_BAR, MIB);
	all_reach(&s);
	pb_device_close(fixture.gpu);
	dma_faults(s.iova, s.offset);
	nobody_reaches(&s, PEERBAR_STATE_DEAD);
	new_mmap(&s, true);
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	nobody_reaches(&s, PEERBAR_STATE_DEAD);
	unshare_range(&s);
}
END_TEST

/* Unbind through sysfs: the kernel waits until the device is closed, whereas the library fails. */
static void *unbind(void *arg)
{
	FILE *f = fopen("/sys/bus/pci/drivers/peerbar-vfio-pci/unbind", "we");

	(void)arg;
	if (f) {
		fputs(lab_bdf(LAB_GPU), f);
		fclose(f);
	}
	return NULL;
}

/* Unbind while the device is open: the buffers die at once, not when the device is closed. */
START_TEST(by_unbinding_the_driver)
{
	pthread_t thread;
	struct shared s;

	share_range(&s, fixture.gpu, GPU_BAR, MIB);
	all_reach(&s);
	ck_assert_int_eq(pthread_create(&thread, NULL, unbind, NULL), 0);
	wait_until_dead(s.fd, s.here);
	nobody_reaches(&s, PEERBAR_STATE_DEAD);
	dma_faults(s.iova, s.offset);
	/* New exports fail. */
	{
		struct pb_range range = { 0, PAGE };
		struct pb_buffer *late = NULL;

		refused(pb_buffer_export(fixture.gpu, GPU_BAR, &range, 1, 0, &late, &err), ENODEV,
			"unbound");
	}
	pb_device_close(fixture.gpu);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	unshare_range(&s);
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
}
END_TEST

/* The owner is killed. */
START_TEST(by_the_death_of_the_owner)
{
	int sockets[2], fd, child;
	struct pb_buffer *taken;
	struct pb_mapping *m;
	uint8_t *p;

	pb_device_close(fixture.gpu);
	fixture.gpu = NULL;
	ck_assert_int_eq(socketpair_cloexec(sockets), 0);
	child = fork();
	if (!child) {
		open_own_gpu();
		send_fd(sockets[1], pb_buffer_fd(export_one(MIB, 2 * PAGE)));
		for (;;)
			pause();
	}
	fd = receive_fd(sockets[0]);
	ok(pb_buffer_from_fd(fd, &taken, &err));
	m = map_rw(taken);
	p = map_fd(fd, 0, 2 * PAGE);
	ck_assert(can_read(p, NULL));
	dma_lands(pb_mapping_iova(m), MIB);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(wait_for(child), 128 + SIGKILL);
	ck_assert(!can_read(p, NULL));
	dma_faults(pb_mapping_iova(m), MIB);
	state_is(fd, PEERBAR_STATE_DEAD);
	munmap(p, 2 * PAGE);
	pb_buffer_close(taken);
	close(fd);
	close(sockets[0]);
	close(sockets[1]);
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
}
END_TEST

LAB_SUITE("kill", 0)
{
	TCase *t = suite_case(s, "all", 120, modules_up, modules_down);

	tcase_add_test(t, decoding_off);
	tcase_add_test(t, function_reset);
	tcase_add_test(t, reset_by_sysfs);
	tcase_add_test(t, hot_reset);
	tcase_add_test(t, d3hot);
	tcase_add_test(t, function_level_reset_by_the_guest);
	tcase_add_test(t, exported_while_decoding_is_off);
	tcase_add_test(t, on_request);
	tcase_add_test(t, of_what_cannot_be_revoked);
	tcase_add_test(t, one_of_two);
	tcase_add_test(t, by_closing_the_device);
	tcase_add_test(t, by_unbinding_the_driver);
	tcase_add_test(t, by_the_death_of_the_owner);
}
