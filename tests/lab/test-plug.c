// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A second GPU is plugged in while the machine runs, used, and pulled out under a mapping; and a large one. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "ours.h"
#include "plug.h"
#include "testmod.h"

#define SIZE (16 * MIB)
#define GIB (1024 * MIB)

START_TEST(plugged_used_and_pulled)
{
	struct pb_range range = { MIB, 4 * PAGE };
	struct pb_mapping *m, *again = NULL;
	struct pb_device *plugged;
	struct pb_buffer *buffer;
	char bdf[PB_BDF_LEN];
	uint64_t iova;
	uint8_t *bar;
	void *p;

	gpu_plug(bdf, SIZE);
	ok(pb_pci_bind(bdf, lab_driver(), &err));
	ok(pb_device_open(iommu, bdf, &plugged, &err));
	ok(pb_device_set_decoding(plugged, true, &err));
	ok(pb_buffer_export(plugged, GPU_BAR, &range, 1, 0, &buffer, &err));
	m = map_rw(buffer);
	iova = pb_mapping_iova(m);
	ok(pb_device_mmap(plugged, GPU_BAR, MIB, 4 * PAGE, false, &p, &err));
	bar = p;
	lab_pattern(memory.p, LEN, 60);
	edu_copy(&edu, memory.iova, iova, LEN);
	ck_assert_mem_eq(bar, memory.p, LEN);
	munmap(p, 4 * PAGE);

	/* pulled: the driver asks its user to let go, and waits for it */
	gpu_pull();
	sleep(7); /* the slot's button blinks for 5 s */
	ck_assert(gpu_plugged(bdf, SIZE));
	pb_device_close(plugged);
	gpu_wait(bdf, SIZE, false);
	ck_assert_int_eq(pb_mapping_state(m), PB_REVOKED);
	refused(pb_map_buffer(ioas, buffer, 0, 0, RW, 0, &again, &err), ENODEV, "revoked");
	dma_faults(iova, 0);
	ok(pb_unmap(m, &err));
	pb_buffer_close(buffer);
	refused(pb_device_open(iommu, bdf, &plugged, &err), ENODEV, "no PCI function");
	gpu_forget_memory(SIZE);
}
END_TEST

/* with our driver, what was exported is dead as soon as the device is to go, although its user has it open still */
START_TEST(pulled_from_under_a_buffer)
{
	struct pb_range range = { MIB, 4 * PAGE };
	struct pb_device *plugged;
	struct pb_buffer *buffer;
	struct pb_mapping *m;
	char bdf[PB_BDF_LEN];
	uint8_t *p;
	int i;

	gpu_plug(bdf, SIZE);
	ok(pb_pci_bind(bdf, lab_driver(), &err));
	ok(pb_device_open(iommu, bdf, &plugged, &err));
	ok(pb_device_set_decoding(plugged, true, &err));
	ok(pb_buffer_export(plugged, GPU_BAR, &range, 1, 0, &buffer, &err));
	m = map_rw(buffer);
	p = map_fd(pb_buffer_fd(buffer), 0, 4 * PAGE);
	lab_pattern(memory.p, LEN, 61);
	edu_copy(&edu, memory.iova, pb_mapping_iova(m), LEN);
	ck_assert_mem_eq(p, memory.p, LEN);
	gpu_pull();
	for (i = 0; i < 300 && query(pb_buffer_fd(buffer)).state != PEERBAR_STATE_DEAD; i++)
		usleep(100000);
	state_is(pb_buffer_fd(buffer), PEERBAR_STATE_DEAD);
	ck_assert(!can_read(p, NULL));
	dma_faults(pb_mapping_iova(m), 0);
	ck_assert(gpu_plugged(bdf, SIZE));
	pb_device_close(plugged);
	gpu_wait(bdf, SIZE, false);
	/* the buffer outlives the device */
	ck_assert(!can_read(p, NULL));
	state_is(pb_buffer_fd(buffer), PEERBAR_STATE_DEAD);
	munmap(p, 4 * PAGE);
	ok(pb_unmap(m, &err));
	pb_buffer_close(buffer);
	gpu_forget_memory(SIZE);
}
END_TEST

/* a BAR of 1 GiB is one page fault */
START_TEST(a_gigabyte)
{
	struct pb_range range = { 0, GIB };
	struct peerbar_test_pte pte;
	struct pb_device *plugged;
	struct pb_buffer *buffer;
	struct peerbar_query q;
	char bdf[PB_BDF_LEN];
	uint8_t *p;

	gpu_plug(bdf, GIB);
	ok(pb_pci_bind(bdf, lab_driver(), &err));
	ok(pb_device_open(iommu, bdf, &plugged, &err));
	ok(pb_device_set_decoding(plugged, true, &err));
	ok(pb_buffer_export(plugged, GPU_BAR, &range, 1, 0, &buffer, &err));
	p = map_fd_aligned(pb_buffer_fd(buffer), 0, GIB, GIB, 0);
	ck_assert(can_write(p + 5, 0x11));
	ck_assert(can_write(p + GIB - 1, 0x22));
	q = query(pb_buffer_fd(buffer));
	ck_assert_uint_eq(q.faults[0], 0);
	ck_assert_uint_eq(q.faults[1], 0);
	ck_assert_uint_eq(q.faults[2], 1);
	ck_assert(page_table(p + 12345678, &pte));
	ck_assert_uint_eq(pte.size, GIB);
	ok(pb_device_set_decoding(plugged, false, &err));
	ck_assert(!can_read(p + 5, NULL) && !can_read(p + GIB - 1, NULL));
	ok(pb_device_set_decoding(plugged, true, &err));
	ck_assert_uint_eq(p[5], 0x11);
	ck_assert_uint_eq(p[GIB - 1], 0x22);
	munmap(p, GIB);
	pb_buffer_close(buffer);
	pb_device_close(plugged);
	gpu_pull();
	gpu_wait(bdf, GIB, false);
	gpu_forget_memory(GIB);
}
END_TEST

Suite *plug_suite(void)
{
	Suite *s = suite_create("plug");
	TCase *t = tcase_create("all");

	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, bench_up, bench_down);
	tcase_add_test(t, plugged_used_and_pulled);
	suite_add_tcase(s, t);
	t = tcase_create("ours");
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, ours_up, ours_down);
	tcase_add_test(t, pulled_from_under_a_buffer);
	tcase_add_test(t, a_gigabyte);
	suite_add_tcase(s, t);
	return s;
}
