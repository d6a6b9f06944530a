// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Changes of a guest's devices without notice, and the event loop of a VMM. */
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest-fixture.h"

/*
 * The VMM, or another thread of it, changes the device through the library without notifying the
 * guest object.
 */
START_TEST(revoked_by_the_library)
{
	place(&vga, SPACE);
	place(&cmb, SPACE + GIB);
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ck_assert(something_to_do(0));
	synced(guest, 0, 1);
	reported(&vga, PB_GUEST_REFUSED, ENODEV, "revoked");
	nothing_to_report();
	faults_at(SPACE);
	reaches(SPACE + GIB, &cmb, 0);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	synced(guest, 0, 0);
	reported(&vga, PB_GUEST_MAPPED, 0, "");
	reaches(SPACE, &vga, 0);
	/* Off and on between two syncs. */
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	faults_at(SPACE);
	ck_assert(something_to_do(0));
	synced(guest, 0, 0);
	reported(&vga, PB_GUEST_MAPPED, ESTALE, "without a report");
	reaches(SPACE, &vga, 0);
	nothing_to_report();
	/* The wrong order: off, and notified afterwards. */
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ok(pb_guest_set_decoding(vga.guest_device, false, &err));
	synced(guest, 0, 0);
	nothing_to_report();
	faults_at(SPACE);
}
END_TEST

/*
 * As in a VMM that has an iommufd, an address space and devices of its own, and writes to the
 * device's descriptor.
 */
START_TEST(with_descriptors_of_the_vmm)
{
	struct pb_device *own, *other = NULL;
	struct pb_guest_device *assigned;
	struct pb_ioas *space, *none = NULL;
	unsigned int fds = count_fds();
	struct pb_guest *g;

	refused(pb_ioas_from_id(fixture.iommu, 12345, &none, &err), ENOENT,
		"no address space 12345");
	refused(pb_device_from_fd(fixture.iommu, 12345, pb_device_bdf(fixture.gpu), &other, &err),
		EBADF, "not open");
	refused(pb_device_from_fd(fixture.iommu, pb_iommu_fd(fixture.iommu),
				  pb_device_bdf(fixture.gpu), &other, &err),
		EINVAL, "no PCI device");
	ck_assert_uint_eq(count_fds(), fds);
	ok(pb_ioas_from_id(fixture.iommu, pb_ioas_id(fixture.ioas), &space, &err));
	ok(pb_device_from_fd(fixture.iommu, pb_device_fd(fixture.gpu), pb_device_bdf(fixture.gpu),
			     &own, &err));
	ok(pb_guest_create(&g, &err));
	ok(pb_guest_add_ioas(g, space, 0, &err));
	ok(pb_guest_add_device(g, own, NULL, 0, NULL, &assigned, &err));
	ok(pb_guest_set_bar(assigned, GPU_BAR, SPACE, &err));
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ok(pb_guest_set_decoding(assigned, true, &err));
	reaches(SPACE, &vga, 0);
	check_finds(g, 0);
	/* It writes to the descriptor, and notifies: before off, and after on. */
	ok(pb_guest_set_decoding(assigned, false, &err));
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	faults_at(SPACE);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ok(pb_guest_set_decoding(assigned, true, &err));
	reaches(SPACE, &vga, 0);
	/* Without notice: pb_guest_check() finds out while decoding is off. */
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	faults_at(SPACE);
	check_finds(g, 1);
	check_finds(g, 0);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	synced(g, 0, 0);
	reaches(SPACE, &vga, 0);
	/* After decoding is on again it does not, with stock vfio-pci: PB_GUEST_REMAKE remaps. */
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	if (!lab_driver_is_ours())
		faults_at(SPACE);
	synced(g, PB_GUEST_REMAKE, 0);
	reaches(SPACE, &vga, 0);
	/* Another part of the VMM unmaps the BAR. */
	stranger_unmaps(SPACE, vga.size);
	faults_at(SPACE);
	check_finds(g, 1);
	reaches(SPACE, &vga, 0);
	/* Destroying the library's objects does not destroy the VMM's. */
	pb_guest_destroy(g);
	faults_at(SPACE);
	pb_device_close(own);
	pb_ioas_destroy(space);
	ck_assert(decodes(fixture.gpu));
	ok(pb_guest_set_bar(vga.guest_device, GPU_BAR, SPACE, &err));
	ok(pb_guest_set_decoding(vga.guest_device, true, &err));
	reaches(SPACE, &vga, 0);
}
END_TEST

/* peerbar-vfio-pci notifies: decoding off and on, without notice and without the library. */
START_TEST(revoked_behind_its_back)
{
	struct pb_device *own;
	struct pb_guest_device *assigned;
	int round;

	unassign(&vga);
	/* Change decoding through another object than the guest's. */
	ok(pb_device_from_fd(fixture.iommu, pb_device_fd(fixture.gpu), pb_device_bdf(fixture.gpu),
			     &own, &err));
	ok(pb_guest_add_device(guest, own, NULL, 0, NULL, &assigned, &err));
	ok(pb_guest_set_bar(assigned, GPU_BAR, SPACE, &err));
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ok(pb_guest_set_decoding(assigned, true, &err));
	reaches(SPACE, &vga, 0);
	while (something_to_do(0))
		synced(guest, 0, 0); /* the export is an event as well */
	for (round = 0; round < 3; round++) {
		struct pb_guest_range report;

		ok(pb_device_set_decoding(fixture.gpu, false, &err));
		ok(pb_device_set_decoding(fixture.gpu, true, &err));
		faults_at(SPACE);
		if (round < 2) {
			ck_assert(something_to_do(1000));
			synced(guest, 0, 0);
		} else {
			check_finds(guest, 1);
		}
		reaches(SPACE, &vga, 0);
		ck_assert(pb_guest_next_report(guest, &report));
		ck_assert_int_eq(report.state, PB_GUEST_MAPPED);
		ck_assert_int_eq(report.why.code, ESTALE);
	}
	ok(pb_guest_remove_device(assigned, &err));
	faults_at(SPACE);
	pb_device_close(own);
	assign(&vga);
}
END_TEST

/* ---- a VMM's event loop: the descriptor is quiet only when there is nothing to do ---- */

/* Poll a guest's descriptor, level-triggered or edge-triggered. */
static int loop_open(struct pb_guest *g, bool edge)
{
	struct epoll_event event = { .events = EPOLLIN | (edge ? EPOLLET : 0) };
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, pb_guest_fd(g), &event))
		lab_die("epoll: %s", strerror(errno));
	return fd;
}

static bool woken(int loop, int timeout)
{
	struct epoll_event event;

	return epoll_wait(loop, &event, 1, timeout) == 1;
}

/*
 * Run the loop that the header documents until the descriptor is quiet. Return the number of
 * wakeups, and the last report, if any, in *last. A worker of the kernel sends the events: those of
 * two changes may wake the loop together, or one after the other.
 */
static unsigned int run_loop(struct pb_guest *g, int loop, struct pb_guest_range *last)
{
	unsigned int wakes = 0;
	struct pb_error e;

	for (; wakes < 100 && woken(loop, 400); wakes++) {
		if (pb_guest_sync(g, 0, &e))
			lab_die("%s", e.text);
		while (pb_guest_next_report(g, last))
			;
	}
	return wakes;
}

/*
 * Another VMM, in another process: its guest changes decoding, and the VMM sometimes does not
 * notify.
 */
static int other_vmm(const char *bdf, bool edge)
{
	struct pb_guest_device *assigned;
	struct pb_guest_range last;
	struct pb_device *device;
	struct pb_buffer *buffer;
	struct pb_iommu *context;
	struct pb_ioas *space;
	struct pb_guest *g;
	struct pb_error e;
	unsigned int i;
	int loop;

	if (pb_iommu_open(&context, &e) || pb_device_open(context, bdf, &device, &e) ||
	    pb_ioas_create(context, &space, &e) || pb_guest_create(&g, &e) ||
	    pb_guest_add_ioas(g, space, 0, &e) ||
	    pb_guest_add_device(g, device, NULL, 0, NULL, &assigned, &e) ||
	    pb_guest_set_bar(assigned, CMB_BAR, SPACE, &e))
		lab_die("%s", e.text);
	loop = loop_open(g, edge);
	for (i = 0; i < 20; i++) {
		if (pb_device_set_decoding(device, true, &e) ||
		    pb_guest_set_decoding(assigned, true, &e) ||
		    pb_buffer_export(device, CMB_BAR, &(struct pb_range){ i * PAGE, PAGE }, 1, 0,
				     &buffer, &e))
			lab_die("%s", e.text);
		pb_buffer_close(buffer);
		/* With notice, and without. */
		if ((i % 2 && pb_guest_set_decoding(assigned, false, &e)) ||
		    pb_device_set_decoding(device, false, &e))
			lab_die("%s", e.text);
		if (run_loop(g, loop, &last) > 10)
			return 1;
	}
	pb_guest_destroy(g);
	pb_ioas_destroy(space);
	pb_device_close(device);
	pb_iommu_close(context);
	return 0;
}

START_TEST(quiet_and_alive)
{
	struct pb_guest_range last = { .state = PB_GUEST_OFF };
	char bdf[PB_BDF_LEN];
	int loop = loop_open(guest, _i), status;
	struct lab_memory ram;
	pid_t child;

	place(&vga, SPACE);
	ck_assert_uint_le(run_loop(guest, loop, &last), 1);
	ck_assert_int_eq(last.state, PB_GUEST_OFF);
	/* After changes with notice, only the kernel's events may follow. */
	guest_decoding(&vga, false);
	guest_decoding(&vga, true);
	guest_bar(&vga, SPACE + GIB);
	last.state = PB_GUEST_OFF;
	ck_assert_uint_le(run_loop(guest, loop, &last), 2);
	ck_assert_int_eq(last.state, PB_GUEST_OFF);
	/* A change without notice. */
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	ck_assert(woken(loop, 1000));
	ok(pb_guest_sync(guest, 0, &err));
	ck_assert(pb_guest_next_report(guest, &last));
	ck_assert_int_eq(last.state, PB_GUEST_REFUSED);
	ck_assert_int_eq(last.why.code, ENODEV);
	ck_assert(!pb_guest_next_report(guest, &last));
	ck_assert_uint_le(run_loop(guest, loop, &last), 2);
	ck_assert_uint_eq(pb_guest_nr_refused(guest), 1);
	/* Beside another VMM with events of its own. */
	strcpy(bdf, pb_device_bdf(cmb.device));
	unassign(&cmb);
	pb_device_close(cmb.device);
	cmb.device = NULL;
	ck_assert_uint_le(run_loop(guest, loop, &last), 2);
	child = fork();
	if (!child)
		_exit(other_vmm(bdf, _i));
	while (!waitpid(child, &status, WNOHANG))
		ck_assert_msg(!woken(loop, 100),
			      "what happens to another process's buffers woke this VMM");
	ck_assert_int_eq(status, 0);
	ck_assert(!woken(loop, 400));
	assign(&cmb);
	ck_assert(!woken(loop, 0));
	/* The memory is back, which wakes the loop. */
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	ck_assert(woken(loop, 1000));
	ok(pb_guest_sync(guest, 0, &err));
	ck_assert(pb_guest_next_report(guest, &last));
	ck_assert_int_eq(last.state, PB_GUEST_MAPPED);
	ck_assert_msg(!last.why.code && !last.why.text[0], "%d: %s", last.why.code, last.why.text);
	reaches(SPACE + GIB, &vga, 0);
	ck_assert_uint_le(run_loop(guest, loop, &last), 2);
	/* So do a reset by the library, and its consequences. */
	if (!lab_has_no_reset()) {
		ok(pb_device_reset(fixture.gpu, &err));
		ck_assert(woken(loop, 1000));
		ok(pb_guest_sync(guest, 0, &err));
		ck_assert_uint_le(run_loop(guest, loop, &last), 3);
		ok(pb_device_set_decoding(fixture.gpu, true, &err));
		ck_assert_uint_le(run_loop(guest, loop, &last), 3);
		reaches(SPACE + GIB, &vga, 0);
	}
	/* So does unmapping the obstacle. */
	lab_memory(fixture.ioas, SPACE + PAGE, PAGE, &ram);
	guest_bar(&vga, SPACE);
	ck_assert_uint_le(run_loop(guest, loop, &last), 2);
	ck_assert_int_eq(last.why.code, EEXIST);
	lab_memory_free(&ram);
	ck_assert(woken(loop, 1000));
	ok(pb_guest_sync(guest, 0, &err));
	reaches(SPACE + PAGE, &vga, 1);
	ck_assert_uint_le(run_loop(guest, loop, &last), 2);
	ck_assert_int_eq(last.state, PB_GUEST_MAPPED);
	close(loop);
}
END_TEST

/*
 * Another descriptor revokes the buffer permanently: the library exports another buffer in its
 * place, once.
 */
START_TEST(revoked_for_good)
{
	struct pb_guest_range last = { 0 };
	struct pb_buffer *buffer;
	int loop = loop_open(guest, _i);
	int found = -1;
	char path[64], name[128];
	ssize_t n;
	int fd;

	place(&vga, SPACE);
	run_loop(guest, loop, &last);
	/* Find the library's buffer, as if another part of the VMM had its descriptor. */
	for (fd = 3; fd < 1024; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, name, sizeof(name) - 1);
		if (n > 0 && (name[n] = '\0', strstr(name, "dmabuf")))
			found = fd;
	}
	ck_assert_int_ge(found, 0);
	ok(pb_buffer_from_fd(found, &buffer, &err));
	ok(pb_buffer_revoke(fixture.gpu, buffer, &err));
	pb_buffer_close(buffer);
	faults_at(SPACE);
	ck_assert(woken(loop, 1000));
	ok(pb_guest_sync(guest, 0, &err));
	while (pb_guest_next_report(guest, &last))
		;
	ck_assert_uint_le(run_loop(guest, loop, &last), 3);
	ck_assert_int_eq(last.state, PB_GUEST_MAPPED);
	/* The event or the check of the mapping may have come first. */
	ck_assert(last.why.code == 0 || last.why.code == ESTALE);
	reaches(SPACE, &vga, 0);
	close(loop);
}
END_TEST

/* ---- test cases ---- */

LAB_SUITE_PART("guest")
{
	TCase *t = suite_case(s, "all", 300, guest_up, guest_down);

	tcase_add_test(t, revoked_by_the_library);
	tcase_add_test(t, with_descriptors_of_the_vmm);
	tcase_add_loop_test(t, quiet_and_alive, 0, 2);
	t = suite_case(s, "ours", 300, guest_modules_up, guest_modules_down);
	tcase_add_test(t, with_descriptors_of_the_vmm);
	tcase_add_test(t, revoked_behind_its_back);
	tcase_add_loop_test(t, quiet_and_alive, 0, 2);
	tcase_add_loop_test(t, revoked_for_good, 0, 2);
}
