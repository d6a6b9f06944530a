// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Revocation: when the revoking call has returned, no DMA reaches the range; notification; and
 * restoring.
 */
#include <poll.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

static bool event_waits(void)
{
	struct pollfd p = { .fd = pb_ioas_event_fd(fixture.ioas), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void check_finds(unsigned int n)
{
	unsigned int found;

	ok(pb_ioas_check(fixture.ioas, &found, &err));
	ck_assert_uint_eq(found, n);
}

START_TEST(decoding_off_and_on)
{
	struct pb_buffer *buffer = export_one(0, 2 * MIB);
	struct pb_mapping *m = map_rw(buffer), *again = NULL;
	uint64_t iova = pb_mapping_iova(m);
	int round;

	for (round = 0; round < 3; round++) {
		dma_lands(iova, 0);
		ck_assert_int_eq(pb_mapping_state(m), PB_LIVE);
		ck_assert(!event_waits());
		ok(pb_device_set_decoding(fixture.gpu, false, &err));
		ck_assert_int_eq(pb_mapping_state(m), PB_REVOKED);
		dma_faults(iova, 0);
		/* While decoding is off, neither restoring nor a new mapping works. */
		refused(pb_mapping_restore(m, &err), ENODEV, "revoked");
		refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW, 0, &again, &err), ENODEV,
			"revoked");
		/* Turning it off twice is harmless, and reported once. */
		ok(pb_device_set_decoding(fixture.gpu, false, &err));
		ck_assert(event_waits());
		ck_assert_ptr_eq(pb_ioas_next_revoked(fixture.ioas), m);
		ck_assert(!event_waits());
		ck_assert_ptr_null(pb_ioas_next_revoked(fixture.ioas));

		ok(pb_device_set_decoding(fixture.gpu, true, &err));
		/*
		 * The revocation is final for the kernel's mapping, although the buffer is live
		 * again.
		 */
		ck_assert_int_eq(pb_mapping_state(m), PB_REVOKED);
		dma_faults(iova, 0);
		ok(pb_mapping_restore(m, &err));
		ck_assert_int_eq(pb_mapping_state(m), PB_LIVE);
		ck_assert_uint_eq(pb_mapping_iova(m), iova);
		/* Restoring a live mapping does nothing. */
		ok(pb_mapping_restore(m, &err));
	}
	dma_lands(iova, 0);
	ok(pb_unmap(m, &err));
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(several_ranges_are_revoked_and_restored)
{
	const struct pb_range ranges[] = {
		{ 4 * MIB, PAGE },
		{ 0, PAGE },
		{ 2 * MIB, PAGE },
	};
	struct pb_buffer *buffer = export_ranges(ranges, 3);
	struct pb_mapping *m = map_rw(buffer);
	uint64_t iova = pb_mapping_iova(m);
	int i;

	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	for (i = 0; i < 3; i++)
		dma_faults(iova + (uint64_t)i * PAGE, ranges[i].offset);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ok(pb_mapping_restore(m, &err));
	for (i = 0; i < 3; i++)
		dma_lands(iova + (uint64_t)i * PAGE, ranges[i].offset);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(reset_revokes)
{
	struct pb_buffer *buffer = export_one(0, PAGE);
	struct pb_mapping *m = map_rw(buffer);
	uint64_t iova = pb_mapping_iova(m);

	dma_lands(iova, 0);
	if (lab_has_no_reset()) {
		/* A failed reset revokes nothing. */
		refused(pb_device_reset(fixture.gpu, &err), EOPNOTSUPP, "cannot be reset");
		ck_assert_int_eq(pb_mapping_state(m), PB_LIVE);
		dma_lands(iova, 0);
		pb_buffer_close(buffer);
		return;
	}
	ok(pb_device_reset(fixture.gpu, &err));
	ck_assert_int_eq(pb_mapping_state(m), PB_REVOKED);
	ck_assert_ptr_eq(pb_ioas_next_revoked(fixture.ioas), m);
	dma_faults(iova, 0);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ok(pb_mapping_restore(m, &err));
	dma_lands(iova, 0);
	pb_buffer_close(buffer);
}
END_TEST

/* The exporter's device is closed while the buffer is mapped: a permanent revoke. */
START_TEST(close_revokes_for_good)
{
	struct pb_buffer *buffer = export_one(0, PAGE), *fresh;
	struct pb_mapping *m = map_rw(buffer), *again = NULL;
	uint64_t iova = pb_mapping_iova(m);
	struct pb_buffer_info info;

	dma_lands(iova, 0);
	pb_device_close(fixture.gpu);
	fixture.gpu = NULL;
	ck_assert_int_eq(pb_mapping_state(m), PB_REVOKED);
	ck_assert_ptr_eq(pb_ioas_next_revoked(fixture.ioas), m);
	dma_faults(iova, 0);
	refused(pb_mapping_restore(m, &err), ENODEV, "revoked");
	refused(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW, 0, &again, &err), ENODEV, "revoked");
	/* The buffer can still be queried. */
	ok(pb_buffer_query(buffer, &info, &err));
	ck_assert_str_eq(info.bdf, lab_bdf(LAB_GPU));

	/*
	 * After the device is opened again, the old buffer stays dead. The range can be exported
	 * again.
	 */
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	refused(pb_mapping_restore(m, &err), ENODEV, "revoked");
	dma_faults(iova, 0);
	fresh = export_one(0, PAGE);
	again = map_rw(fresh);
	ck_assert_uint_ne(pb_mapping_iova(again), iova);
	dma_lands(pb_mapping_iova(again), 0);
	pb_buffer_close(fresh);
	pb_buffer_close(buffer);
}
END_TEST

START_TEST(every_mapping_is_told)
{
	struct pb_buffer *a = export_one(0, PAGE), *b = export_one(MIB, PAGE);
	struct pb_mapping *m[3] = { map_rw(a), map_rw(b), map_rw(a) }, *told;
	struct pb_mapping *plain;
	int i, seen = 0;

	for (i = 0; i < 3; i++)
		pb_mapping_set_data(m[i], &m[i]);
	ok(pb_map_memory(fixture.ioas, (char *)fixture.memory.p + PAGE, PAGE, RW, 0, &plain, &err));
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	/* An unmapped mapping is not reported any more. */
	ok(pb_unmap(m[1], &err));
	while ((told = pb_ioas_next_revoked(fixture.ioas))) {
		struct pb_mapping **slot = pb_mapping_data(told);

		ck_assert_ptr_nonnull(slot);
		ck_assert_ptr_eq(*slot, told);
		ck_assert(slot != &m[1]);
		seen++;
	}
	ck_assert_int_eq(seen, 2);
	/* Memory of the process is not affected. */
	ck_assert_int_eq(pb_mapping_state(plain), PB_LIVE);
	/* Another device's decoding does not affect these mappings. */
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ok(pb_mapping_restore(m[0], &err));
	ok(pb_device_set_decoding(fixture.edu_device, false, &err));
	ok(pb_device_set_decoding(fixture.edu_device, true, &err));
	ck_assert_int_eq(pb_mapping_state(m[0]), PB_LIVE);
	ck_assert(!event_waits());
	pb_buffer_close(a);
	pb_buffer_close(b);
}
END_TEST

/* A buffer imported by descriptor: the kernel does not notify, but can be queried. */
START_TEST(a_buffer_from_elsewhere)
{
	struct pb_buffer *buffer = export_one(0, PAGE), *taken;
	struct pb_mapping *m;
	uint64_t iova;

	ok(pb_buffer_from_fd(pb_buffer_fd(buffer), &taken, &err));
	m = map_rw(taken);
	iova = pb_mapping_iova(m);
	dma_lands(iova, 0);
	check_finds(0);
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	dma_faults(iova, 0);
	ck_assert_int_eq(pb_mapping_state(m), PB_LIVE); /* not known yet */
	ck_assert(!event_waits());
	check_finds(1);
	ck_assert_int_eq(pb_mapping_state(m), PB_REVOKED);
	ck_assert(event_waits());
	ck_assert_ptr_eq(pb_ioas_next_revoked(fixture.ioas), m);
	/* Found only once. */
	check_finds(0);
	refused(pb_mapping_restore(m, &err), ENODEV, "revoked");
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ok(pb_mapping_restore(m, &err));
	dma_lands(iova, 0);
	check_finds(0);
	pb_buffer_close(taken);
	pb_buffer_close(buffer);
}
END_TEST

/* The exporting process is killed. */
START_TEST(the_exporting_process_is_killed)
{
	struct pb_buffer *taken;
	struct pb_mapping *m;
	struct pb_buffer_info info;
	int sockets[2], fd, status;
	uint64_t iova;
	pid_t child;

	pb_device_close(fixture.gpu);
	fixture.gpu = NULL;
	ck_assert_int_eq(socketpair_cloexec(sockets), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		struct pb_range range = { 0, PAGE };
		struct pb_iommu *own;
		struct pb_buffer *buffer;
		struct pb_error e;

		if (pb_iommu_open(&own, &e))
			_exit(1);
		fixture.gpu = lab_open(own, LAB_GPU);
		if (pb_device_set_decoding(fixture.gpu, true, &e) ||
		    pb_buffer_export(fixture.gpu, GPU_BAR, &range, 1, 0, &buffer, &e))
			_exit(1);
		send_fd(sockets[1], pb_buffer_fd(buffer));
		for (;;)
			pause();
	}
	close(sockets[1]);
	fd = receive_fd(sockets[0]);
	ok(pb_buffer_from_fd(fd, &taken, &err));
	close(fd);
	ok(pb_buffer_query(taken, &info, &err));
	ck_assert_int_eq(info.model, PB_REVOCABLE);
	m = map_rw(taken);
	iova = pb_mapping_iova(m);
	dma_lands(iova, 0);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	dma_faults(iova, 0);
	check_finds(1);
	refused(pb_mapping_restore(m, &err), ENODEV, "revoked");
	ok(pb_unmap(m, &err));
	pb_buffer_close(taken);
	close(sockets[0]);
}
END_TEST

/* The driver is unbound after the device is closed, while the buffer is held and mapped. */
START_TEST(unbind_with_a_buffer_held)
{
	struct pb_buffer *buffer = export_one(0, PAGE);
	struct pb_mapping *m = map_rw(buffer);
	uint64_t iova = pb_mapping_iova(m);

	pb_device_close(fixture.gpu);
	fixture.gpu = NULL;
	ok(pb_pci_unbind(lab_bdf(LAB_GPU), &err));
	dma_faults(iova, 0);
	refused(pb_mapping_restore(m, &err), ENODEV, "revoked");
	ok(pb_unmap(m, &err));
	pb_buffer_close(buffer);
	ok(pb_pci_bind(lab_bdf(LAB_GPU), NULL, &err));
}
END_TEST

/* A revoked mapping can be unmapped, which frees its addresses. */
START_TEST(unmapping_what_is_revoked)
{
	struct pb_buffer *buffer = export_one(0, PAGE);
	struct pb_mapping *m = map_rw(buffer);
	uint64_t iova = pb_mapping_iova(m);

	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ok(pb_unmap(m, &err));
	ck_assert(!event_waits());
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	/* The addresses are free again. */
	ok(pb_map_buffer(fixture.ioas, buffer, 0, 0, RW | PB_MAP_FIXED, iova, &m, &err));
	dma_lands(iova, 0);
	pb_buffer_close(buffer);
}
END_TEST

/*
 * A VMM forwards its guest's write that turns decoding off: reported like pb_device_set_decoding().
 */
START_TEST(decoding_off_by_a_config_write)
{
	struct pb_buffer *buffer = export_one(0, PAGE);
	struct pb_mapping *m = map_rw(buffer);
	uint8_t command[2], off[2];

	ok(pb_device_read(fixture.gpu, PB_REGION_CONFIG, 4, command, 2, &err));
	/* Writing the current value has no effect. */
	ok(pb_device_write(fixture.gpu, PB_REGION_CONFIG, 4, command, 2, &err));
	ck_assert_int_eq(pb_mapping_state(m), PB_LIVE);
	off[0] = command[0] & ~2;
	off[1] = command[1];
	ok(pb_device_write(fixture.gpu, PB_REGION_CONFIG, 4, off, 2, &err));
	ck_assert_int_eq(pb_mapping_state(m), PB_REVOKED);
	ck_assert_ptr_eq(pb_ioas_next_revoked(fixture.ioas), m);
	dma_faults(pb_mapping_iova(m), 0);
	ok(pb_device_write(fixture.gpu, PB_REGION_CONFIG, 4, command, 2, &err));
	ok(pb_mapping_restore(m, &err));
	dma_lands(pb_mapping_iova(m), 0);
	pb_buffer_close(buffer);
}
END_TEST

/* The same for a function level reset, which an NVMe's guest starts in configuration space. */
START_TEST(function_level_reset_by_a_config_write)
{
	struct pb_device *device = lab_open(fixture.iommu, LAB_NVME_CMB);
	struct pb_range range = { 0, PAGE };
	struct pb_buffer *buffer;
	struct pb_mapping *m;
	uint8_t at, cap[2], devctl[2];

	ok(pb_device_set_decoding(device, true, &err));
	ok(pb_buffer_export(device, CMB_BAR, &range, 1, 0, &buffer, &err));
	m = map_rw(buffer);
	ok(pb_device_read(device, PB_REGION_CONFIG, 0x34, &at, 1, &err));
	for (;;) {
		ck_assert_msg(at != 0, "the NVMe has no PCI Express capability");
		ok(pb_device_read(device, PB_REGION_CONFIG, at, cap, 2, &err));
		if (cap[0] == 0x10)
			break;
		at = cap[1];
	}
	ok(pb_device_read(device, PB_REGION_CONFIG, at + 8u, devctl, 2, &err));
	devctl[1] |= 0x80;
	ok(pb_device_write(device, PB_REGION_CONFIG, at + 8u, devctl, 2, &err));
	ck_assert_int_eq(pb_mapping_state(m), PB_REVOKED);
	ck_assert_ptr_eq(pb_ioas_next_revoked(fixture.ioas), m);
	ok(pb_device_set_decoding(device, true, &err));
	while (pb_ioas_next_revoked(fixture.ioas))
		;
	ok(pb_mapping_restore(m, &err));
	lab_pattern(fixture.memory.p, LEN, 70);
	edu_copy(&fixture.edu, fixture.memory.iova, pb_mapping_iova(m), LEN);
	edu_copy(&fixture.edu, pb_mapping_iova(m), fixture.memory.iova + PAGE, LEN);
	ck_assert_mem_eq((uint8_t *)fixture.memory.p + PAGE, fixture.memory.p, LEN);
	pb_buffer_close(buffer);
	pb_device_close(device);
}
END_TEST

/*
 * A mapping of the BAR keeps the kernel's device open. Closing the library's device revokes
 * nevertheless.
 */
START_TEST(close_while_the_bar_is_mapped)
{
	struct pb_buffer *buffer = export_one(0, PAGE);
	struct pb_mapping *m = map_rw(buffer);
	uint8_t *bar = bar_mmap(0, PAGE);
	struct pb_device *again = NULL;

	dma_lands(pb_mapping_iova(m), 0);
	pb_device_close(fixture.gpu);
	fixture.gpu = NULL;
	ck_assert_int_eq(pb_mapping_state(m), PB_REVOKED);
	dma_faults(pb_mapping_iova(m), 0);
	refused(pb_device_open(fixture.iommu, lab_bdf(LAB_GPU), &again, &err), EBUSY, "in use");
	munmap(bar, PAGE);
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
	dma_faults(pb_mapping_iova(m), 0);
	pb_buffer_close(buffer);
}
END_TEST

/* The DMA engine's device is closed while attached: the address space can be destroyed. */
START_TEST(close_of_the_dma_engine_while_mapped)
{
	uint8_t *registers = (uint8_t *)fixture.edu.mmio;

	fixture.edu.mmio = NULL;
	pb_device_close(fixture.edu_device);
	fixture.edu_device = NULL;
	lab_memory_free(&fixture.memory);
	pb_ioas_destroy(fixture.ioas);
	fixture.ioas = NULL;
	munmap(registers, MIB);
	fixture.edu_device = lab_open(fixture.iommu, LAB_EDU);
}
END_TEST

LAB_SUITE("revoke", 0)
{
	TCase *t = suite_case(s, "all", 240, fixture_up, fixture_down);

	tcase_add_test(t, decoding_off_and_on);
	tcase_add_test(t, several_ranges_are_revoked_and_restored);
	tcase_add_test(t, reset_revokes);
	tcase_add_test(t, close_revokes_for_good);
	tcase_add_test(t, every_mapping_is_told);
	tcase_add_test(t, a_buffer_from_elsewhere);
	tcase_add_test(t, the_exporting_process_is_killed);
	tcase_add_test(t, unbind_with_a_buffer_held);
	tcase_add_test(t, unmapping_what_is_revoked);
	tcase_add_test(t, decoding_off_by_a_config_write);
	tcase_add_test(t, function_level_reset_by_a_config_write);
	tcase_add_test(t, close_while_the_bar_is_mapped);
	tcase_add_test(t, close_of_the_dma_engine_while_mapped);
}
