// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Address spaces and devices of a guest that come and go; DMA meanwhile; costs; the example of a
 * VMM.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest-fixture.h"
#include "hotplug.h"

/* ---- address spaces, and virtual IOMMUs ---- */

START_TEST(behind_a_virtual_iommu)
{
	struct pb_guest_window window = {
		.iova = 0x200000000, .address = SPACE + 2 * PAGE, .length = 4 * PAGE, .flags = RW
	};
	struct pb_ioas *domain;
	uint8_t bytes[8];

	place(&vga, SPACE);
	ok(pb_ioas_create(fixture.iommu, &domain, &err));
	refused(pb_guest_add_window(guest, domain, &window, &err), EINVAL, "PB_GUEST_WINDOWS");
	refused(pb_guest_add_window(guest, fixture.ioas, &window, &err), EINVAL,
		"PB_GUEST_WINDOWS");
	ok(pb_guest_add_ioas(guest, domain, PB_GUEST_WINDOWS, &err));
	/* The guest attaches the engine to a domain of its own. */
	edu_stop(&fixture.edu);
	ok(pb_ioas_attach(domain, fixture.edu_device, &err));
	edu_start(&fixture.edu, fixture.edu_device);
	ok(pb_guest_add_window(guest, domain, &window, &err));
	refused(pb_guest_add_window(guest, domain, &window, &err), EEXIST, "overlaps");
	lab_memory_free(&fixture.memory);
	lab_memory(domain, MEMORY_IOVA, 4 * PAGE, &fixture.memory);
	dma_lands(0x200000000 + PAGE + 64, 3 * PAGE + 64);
	dma_faults(0x200000000 + 4 * PAGE, 6 * PAGE + 64);
	dma_faults(SPACE + 2 * PAGE, 2 * PAGE + 64);
	/* The BAR moves out of the window, and to another address in it. */
	guest_bar(&vga, SPACE + GIB);
	dma_faults(0x200000000 + PAGE, 3 * PAGE + 64);
	guest_bar(&vga, SPACE + 4 * PAGE);
	dma_faults(0x200000000 + PAGE, 3 * PAGE + 64);
	dma_lands(0x200000000 + 2 * PAGE + 64, 64);
	/* A read-only window. */
	ok(pb_guest_remove_window(guest, domain, 0x200000000, &err));
	refused(pb_guest_remove_window(guest, domain, 0x200000000, &err), ENOENT, "no window");
	dma_faults(0x200000000 + 2 * PAGE, 64);
	window.flags = PB_MAP_READ;
	ok(pb_guest_add_window(guest, domain, &window, &err));
	edu_load(&fixture.edu, 0x200000000 + 2 * PAGE, 8);
	edu_store(&fixture.edu, fixture.memory.iova, 8);
	lab_host_read(0, bytes, 8);
	ck_assert_mem_eq(fixture.memory.p, bytes, 8);
	/* The engine in the identity-mapped space is not affected. */
	reaches(SPACE + 4 * PAGE, &vga, 0);
	faults_at(0x200000000 + 2 * PAGE);
	refused(pb_guest_add_window(guest, domain, &(struct pb_guest_window){ PAGE, 0, 7, RW },
				    &err),
		EINVAL, "multiples");
	refused(pb_guest_add_window(guest, domain, &(struct pb_guest_window){ PAGE, 0, PAGE, 8 },
				    &err),
		EINVAL, "0x8");
	ok(pb_guest_remove_ioas(guest, domain, &err));
	refused(pb_guest_remove_ioas(guest, domain, &err), ENOENT, "none of this guest's");
	dma_read_faults(0x200000000 + 2 * PAGE, 0);
	lab_memory_free(&fixture.memory);
	edu_stop(&fixture.edu);
	ok(pb_ioas_attach(fixture.ioas, fixture.edu_device, &err));
	edu_start(&fixture.edu, fixture.edu_device);
	pb_ioas_destroy(domain);
	nothing_to_report();
}
END_TEST

/* ---- adding and removing devices ---- */

START_TEST(taken_from_the_guest)
{
	place(&vga, SPACE);
	place(&cmb, SPACE + GIB);
	unassign(&cmb);
	faults_at(SPACE + GIB);
	reaches(SPACE, &vga, 0);
	pb_device_close(cmb.device);
	cmb.device = NULL;
	assign(&cmb);
	faults_at(SPACE + GIB);
	place(&cmb, SPACE + GIB);
	reaches(SPACE + GIB, &cmb, 0);
	nothing_to_report();
}
END_TEST

START_TEST(plugged_and_pulled)
{
	struct assigned hot = { .number = 3, .bar = GPU_BAR };
	char bdf[PB_BDF_LEN];

	place(&vga, SPACE);
	gpu_plug(bdf, 16 * MIB);
	ok(pb_pci_bind(bdf, lab_driver(), &err));
	ok(pb_device_open(fixture.iommu, bdf, &hot.device, &err));
	assign(&hot);
	write_stamps(&hot);
	place(&hot, SPACE + GIB);
	reaches(SPACE + GIB + 9 * PAGE, &hot, 9);
	reaches(SPACE, &vga, 0);
	gpu_pull();
	unassign(&hot);
	faults_at(SPACE + GIB + 9 * PAGE);
	pb_device_close(hot.device);
	gpu_wait(bdf, 16 * MIB, false);
	reaches(SPACE, &vga, 0);
	check_finds(guest, 0);
	nothing_to_report();
	gpu_forget_memory(16 * MIB);
}
END_TEST

/* ---- concurrency ---- */

static atomic_bool moving;
static unsigned int moves;

static void *move_about(void *arg)
{
	(void)arg;
	for (moves = 0; atomic_load(&moving); moves++) {
		struct pb_error e;

		/*
		 * Each device has addresses of its own: DMA must find its owner's page there, or
		 * nothing.
		 */
		if (pb_guest_set_bar(vga.guest_device, GPU_BAR, SPACE + moves % 3 * GIB, &e) ||
		    pb_guest_set_bar(cmb.guest_device, CMB_BAR, SPACE + (3 + moves % 2) * GIB,
				     &e) ||
		    pb_guest_set_decoding(vga.guest_device, moves % 7 != 0, &e))
			lab_die("%s", e.text);
		if (moves % 16 == 0)
			usleep(1000);
	}
	return NULL;
}

START_TEST(dma_while_it_moves)
{
	unsigned int found = 0, i, faults;
	pthread_t thread;

	place(&vga, SPACE);
	place(&cmb, SPACE + 3 * GIB);
	atomic_store(&moving, true);
	faults = lab_faults();
	ck_assert_int_eq(pthread_create(&thread, NULL, move_about, NULL), 0);
	for (i = 0; i < 2000; i++) {
		uint64_t page = i % 4096;
		const struct assigned *owner = i % 5 < 3 ? &vga : &cmb;
		uint64_t value = peek(SPACE + i % 5 * GIB + page * PAGE);

		/* The two halves are read separately, and the BAR may have moved in between. */
		ck_assert_msg((!(value >> 32) || value >> 32 == stamp(owner, page) >> 32) &&
				      (!(uint32_t)value ||
				       (uint32_t)value == (uint32_t)stamp(owner, page)),
			      "DMA finds 0x%llx at page 0x%llx of place %u",
			      (unsigned long long)value, (unsigned long long)page, i % 5);
		found += value != 0;
		/* Query and synchronize meanwhile. */
		if (i % 50 == 0) {
			struct pb_guest_range *list;
			unsigned int n;

			ok(pb_guest_list(guest, &list, &n, &err));
			ck_assert_uint_gt(n, 0);
			free(list);
			synced(guest, 0, 0);
			check_finds(guest, 0);
		}
	}
	atomic_store(&moving, false);
	pthread_join(thread, NULL);
	faults_since(faults, "guest: DMA while BARs move");
	printf("guest: %u DMA reads while two BARs moved %u times: %u found the right page, the others faulted\n",
	       i, moves, found);
	ck_assert_uint_gt(found, 0);
	nothing_to_report();
}
END_TEST

/* ---- costs ---- */

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void cost(struct assigned *a, const char *what)
{
	double move = 0, off = 0, on = 0;
	int i, rounds = 10;

	for (i = 0; i < rounds; i++) {
		double t[4];

		t[0] = now_ms();
		ok(pb_guest_set_bar(a->guest_device, a->bar, SPACE + (i % 2 ? 0 : GIB), &err));
		t[1] = now_ms();
		ok(pb_guest_set_decoding(a->guest_device, false, &err));
		t[2] = now_ms();
		ok(pb_guest_set_decoding(a->guest_device, true, &err));
		t[3] = now_ms();
		move += t[1] - t[0];
		off += t[2] - t[1];
		on += t[3] - t[2];
	}
	printf("guest: cost, %s: moved %.2f ms, decoding off %.2f ms, on %.2f ms (mean of %d)\n",
	       what, move / rounds, off / rounds, on / rounds, rounds);
}

/*
 * A BAR of 1 GiB, which fits in the machine's memory; and 128 windows, of which 64 are onto it at
 * any time, so that 64 GiB are mapped.
 */
START_TEST(costs)
{
	struct assigned hot = { .number = 3, .bar = GPU_BAR };
	struct pb_ioas *domain;
	char bdf[PB_BDF_LEN];
	int i;

	place(&vga, SPACE + 8 * GIB);
	cost(&vga, "a BAR of 256 MiB");
	guest_decoding(&vga, false);
	gpu_plug(bdf, GIB);
	ok(pb_pci_bind(bdf, lab_driver(), &err));
	ok(pb_device_open(fixture.iommu, bdf, &hot.device, &err));
	assign(&hot);
	place(&hot, SPACE);
	cost(&hot, "a BAR of 1 GiB");
	ok(pb_ioas_create(fixture.iommu, &domain, &err));
	edu_stop(&fixture.edu);
	ok(pb_ioas_attach(domain, fixture.edu_device, &err));
	ok(pb_guest_add_ioas(guest, domain, PB_GUEST_WINDOWS, &err));
	for (i = 0; i < 128; i++) {
		struct pb_guest_window window = { SPACE + (uint64_t)i * GIB,
						  SPACE + (uint64_t)(i % 2) * GIB, GIB, RW };

		ok(pb_guest_add_window(guest, domain, &window, &err));
	}
	ok(pb_guest_remove_ioas(guest, fixture.ioas, &err));
	cost(&hot, "64 ranges of 1 GiB");
	synced(guest, 0, 0);
	ok(pb_guest_remove_ioas(guest, domain, &err));
	ok(pb_ioas_attach(fixture.ioas, fixture.edu_device, &err));
	pb_ioas_destroy(domain);
	unassign(&hot);
	pb_device_close(hot.device);
	gpu_pull();
	gpu_wait(bdf, GIB, false);
	gpu_forget_memory(GIB);
}
END_TEST

/* ---- the example ---- */

START_TEST(the_example)
{
	char path[300];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 40);
	int status;

	/* Its path is relative to the directory of the tests. */
	ck_assert_int_gt(n, 0);
	path[n] = '\0';
	strcpy(strstr(path, "/tests/lab/"), "/examples/vmm");
	status = system(path);
	ck_assert_msg(!status, "%s: status 0x%x", path, status);
}
END_TEST

/* ---- test cases ---- */

LAB_SUITE_PART("guest")
{
	TCase *t = suite_case(s, "all", 300, guest_up, guest_down);

	tcase_add_test(t, behind_a_virtual_iommu);
	tcase_add_test(t, taken_from_the_guest);
	tcase_add_test(t, dma_while_it_moves);
	tcase_add_test(t, plugged_and_pulled);
	tcase_add_test(t, costs);
	t = suite_case(s, "example", 120, NULL, NULL);
	tcase_add_test(t, the_example);
}
