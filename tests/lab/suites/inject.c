// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Allocations fail in the kernel, one after the other, in peerbar's modules and in the functions
 * that they call. The call must fail cleanly, or succeed, and leak nothing. Requires a kernel with
 * fault injection: the lab's debug kernel.
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kernel-exporters.h"
#include "modules.h"
#include "testmod.h"
#include "uapi.h"

#define FAIL_NTH "/proc/thread-self/fail-nth"
#define FAILSLAB "/sys/kernel/debug/failslab/"

static int importer, exporter, nth_fd, peerbar_fd;
static struct pb_buffer *one, *two, *other;
static unsigned int sites;
static const char *nic; /* looked up before allocations fail */

static void inject_up(void)
{
	const struct pb_range ranges[] = {
		{ MIB, PAGE },
		{ 3 * MIB, 2 * PAGE },
	};

	modules_up();
	nic = lab_bdf(LAB_NIC);
	importer = test_importer_open();
	exporter = test_exporter_open();
	peerbar_fd = open("/dev/peerbar", O_RDWR | O_CLOEXEC);
	one = export_one(0, 2 * PAGE);
	two = export_ranges(ranges, 2);
	other = export_one(8 * MIB, 2 * MIB);
	write_file(FAILSLAB "ignore-gfp-wait", "N");
	write_file("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N");
	write_file("/sys/kernel/debug/fail_page_alloc/min-order", "0");
	/* Don't log injected failures: each has a stack trace, and would be taken for a report. */
	write_file(FAILSLAB "verbose", "0");
	write_file("/sys/kernel/debug/fail_page_alloc/verbose", "0");
	nth_fd = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(nth_fd, 0);
	sites = 0;
}

static void inject_down(void)
{
	printf("inject: %u places where memory ran out\n", sites);
	close(nth_fd);
	close(peerbar_fd);
	pb_buffer_close(one);
	pb_buffer_close(two);
	pb_buffer_close(other);
	close(importer);
	close(exporter);
	modules_down();
}

/* Return whether a call may return this when an allocation fails. */
static bool sane(int ret)
{
	return ret >= 0 || ret == -ENOMEM || ret == -ENFILE || ret == -ENOBUFS || ret == -EAGAIN;
}

/* Let this thread's allocation @n from now on fail. */
static void begin_injection(unsigned int n)
{
	char text[32];

	snprintf(text, sizeof(text), "%u", n);
	ck_assert_int_eq(pwrite(nth_fd, text, strlen(text), 0), (ssize_t)strlen(text));
}

/* Return whether the thread made fewer allocations than that, so that none failed. */
static bool end_injection(void)
{
	char text[32];
	ssize_t got = pread(nth_fd, text, sizeof(text) - 1, 0);

	if (pwrite(nth_fd, "0", 1, 0) != 1)
		ck_abort_msg("the injection cannot be ended");
	ck_assert_int_gt(got, 0);
	text[got] = 0;
	return atoi(text);
}

/*
 * Make the call with the first allocation failing, then with the second, and so on, until no
 * allocation fails. @call returns a descriptor, a handle or 0, which @undo releases, or -errno.
 * Check for leaked descriptors and buffers.
 */
static void at_every_place(const char *what, int (*call)(void), void (*undo)(int))
{
	unsigned int fds = count_fds(), listed = count_listed(), n;

	for (n = 1;; n++) {
		int ret, i;
		bool none;

		begin_injection(n);
		ret = call();
		none = end_injection();
		ck_assert_msg(sane(ret), "%s, with request %u for memory failing: %s", what, n,
			      strerror(-ret));
		if (ret >= 0 && undo)
			undo(ret);
		/*
		 * The call, or the kernel a moment later, drops the last references of a dma-buf.
		 */
		ck_assert_msg(count_fds() == fds,
			      "%s, with request %u for memory failing, leaves a descriptor", what,
			      n);
		for (i = 0; count_listed() != listed && i < 100; i++)
			usleep(20000);
		ck_assert_msg(i < 100, "%s, with request %u for memory failing, leaves a buffer",
			      what, n);
		if (none) {
			ck_assert_msg(ret >= 0, "%s fails without a failure: %s", what,
				      strerror(-ret));
			break;
		}
		ck_assert_msg(n < 2000, "%s never ends", what);
	}
	sites += n - 1;
}

static void undo_fd(int fd)
{
	close(fd);
}

static int export_raw(unsigned int nr)
{
	struct {
		struct vfio_device_feature feature;
		struct vfio_device_feature_dma_buf dma_buf;
		struct vfio_region_dma_range ranges[3];
	} request = {
		{ sizeof(request), VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF },
		{ .region_index = GPU_BAR, .open_flags = O_RDWR | O_CLOEXEC, .nr_ranges = nr },
		{ { 0, PAGE }, { 2 * MIB, 2 * PAGE }, { 4 * MIB, PAGE } },
	};
	int ret = ioctl(pb_device_fd(fixture.gpu), VFIO_DEVICE_FEATURE, &request);

	return ret < 0 ? -errno : ret;
}

static int call_export(void)
{
	return export_raw(1);
}

static int call_export_three(void)
{
	return export_raw(3);
}

START_TEST(exports)
{
	at_every_place("an export", call_export, undo_fd);
	at_every_place("an export of three ranges", call_export_three, undo_fd);
}
END_TEST

/*
 * The part of an export that runs in a kernel thread: fail the first allocation made below the
 * driver after @space bytes.
 */
START_TEST(exports_in_the_kernel_thread)
{
	unsigned int fds = count_fds(), listed = count_listed(), failed = 0, space;
	unsigned long long start = 0;
	char text[64];
	FILE *f = fopen("/sys/module/peerbar_vfio_pci/sections/.text", "re");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%llx", &start), 1);
	fclose(f);
	ck_assert_uint_ne(start, 0);
	snprintf(text, sizeof(text), "0x%llx", start);
	write_file(FAILSLAB "require-start", text);
	snprintf(text, sizeof(text), "0x%llx", start + 0x8000);
	write_file(FAILSLAB "require-end", text);
	for (space = 0; space < 12000; space += 96) {
		int fd, tries;

		snprintf(text, sizeof(text), "%u", space);
		write_file(FAILSLAB "space", text);
		write_file(FAILSLAB "times", "1");
		write_file(FAILSLAB "probability", "100");
		fd = export_raw(1 + space / 96 % 3);
		write_file(FAILSLAB "probability", "0");
		ck_assert_msg(sane(fd), "an export, with memory running out after %u bytes: %s",
			      space, strerror(-fd));
		if (fd >= 0)
			close(fd);
		else
			failed++;
		ck_assert_uint_eq(count_fds(), fds);
		for (tries = 0; count_listed() != listed && tries < 100; tries++)
			usleep(20000);
		ck_assert_int_lt(tries, 100);
	}
	write_file(FAILSLAB "require-start", "0");
	write_file(FAILSLAB "require-end", "0xffffffffffffffff");
	ck_assert_uint_gt(failed, 3);
	sites += failed;
	pb_buffer_close(export_one(0, PAGE));
}
END_TEST

static int call_cookie(void)
{
	uint64_t at;

	return feature_cookie(fixture.gpu, GPU_BAR, MIB, PAGE, PEERBAR_MEMATTR_WC, &at);
}

START_TEST(a_cookie)
{
	/*
	 * A successful cookie stays until the device is closed, so each one adds a buffer: compare
	 * with the last number.
	 */
	unsigned int n = 1, listed = count_listed(), fds = count_fds();

	for (;; n++) {
		bool none;
		int ret;

		begin_injection(n);
		ret = call_cookie();
		none = end_injection();
		ck_assert(sane(ret));
		if (ret >= 0)
			listed++;
		usleep(20000);
		ck_assert_uint_eq(count_listed(), listed);
		ck_assert_uint_eq(count_fds(), fds);
		if (none)
			break;
	}
	sites += n - 1;
}
END_TEST

static uint8_t *mapped;

static int call_mmap(void)
{
	mapped = map_fd(pb_buffer_fd(one), 0, 2 * PAGE);
	return mapped ? 0 : -errno;
}

static void undo_mmap(int ret)
{
	(void)ret;
	munmap(mapped, 2 * PAGE);
}

/* Page faults do not fail when an allocation fails: the kernel retries. */
static int call_fault(void)
{
	uint8_t *p = map_fd(pb_buffer_fd(other), 0, 2 * MIB);
	bool there;

	if (!p)
		return -errno;
	there = can_read(p, NULL) && can_write(p + MIB, 1);
	munmap(p, 2 * MIB);
	return there ? 0 : -EFAULT;
}

START_TEST(mappings)
{
	at_every_place("mmap", call_mmap, undo_mmap);
	at_every_place("a page fault", call_fault, NULL);
	ck_assert_int_eq(feature_set_memattr(fixture.gpu, pb_buffer_fd(other), PEERBAR_MEMATTR_WC),
			 0);
	at_every_place("a page fault of a write-combining mapping", call_fault, NULL);
}
END_TEST

static int asked;

static int call_query(void)
{
	struct peerbar_query q = { .size = sizeof(q), .fd = asked };

	return ioctl(peerbar_fd, PEERBAR_QUERY, &q) ? -errno : 0;
}

static int call_list(void)
{
	struct pb_error err;
	struct pb_listed *list;
	unsigned int n;
	int ret = pb_list_buffers(&list, &n, &err);

	if (!ret)
		free(list);
	/*
	 * libnl has no code for some of the kernel's errors, and reports a family that it could not
	 * query as missing.
	 */
	if (ret == -EIO || ret == -ENOENT)
		return -ENOMEM;
	return ret;
}

START_TEST(questions)
{
	int fds[] = { pb_buffer_fd(one), export_udmabuf(PAGE), export_system_heap(PAGE),
		      test_export_one(exporter, PEERBAR_TEST_SOURCE_FOREIGN,
				      PEERBAR_MODEL_REVOCABLE, PAGE) };
	size_t i;

	for (i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		asked = fds[i];
		at_every_place("a question", call_query, NULL);
	}
	for (i = 1; i < sizeof(fds) / sizeof(fds[0]); i++)
		close(fds[i]);
	at_every_place("the list", call_list, NULL);
}
END_TEST

static int handle;

static int call_attach(void)
{
	return test_import_attach(importer, asked, PEERBAR_TEST_KIND_REVOCABLE, 0, nic);
}

static void undo_attach(int ret)
{
	ck_assert_int_eq(test_import_detach(importer, ret), 0);
}

static int call_map(void)
{
	return test_import_map(importer, handle, NULL);
}

static void undo_map(int ret)
{
	(void)ret;
	ck_assert_int_eq(test_import_unmap(importer, handle), 0);
}

static int call_chunks(void)
{
	struct peerbar_test_chunks chunks;

	return test_import_chunks(importer, handle, &chunks);
}

START_TEST(importers)
{
	struct pb_buffer *buffers[] = { one, two };
	int i;

	for (i = 0; i < 2; i++) {
		asked = pb_buffer_fd(buffers[i]);
		at_every_place("attaching", call_attach, undo_attach);
		handle = call_attach();
		ck_assert_int_gt(handle, 0);
		at_every_place("mapping for DMA", call_map, undo_map);
		at_every_place("asking for chunks", call_chunks, NULL);
		undo_attach(handle);
		ck_assert_uint_eq(query(asked).importers, 0);
	}
}
END_TEST

static int call_map_file(void)
{
	struct iommu_ioas_map_file map = { .size = sizeof(map),
					   .flags = IOMMU_IOAS_MAP_READABLE |
						   IOMMU_IOAS_MAP_FIXED_IOVA,
					   .ioas_id = pb_ioas_id(fixture.ioas),
					   .fd = pb_buffer_fd(one),
					   .length = PAGE,
					   .iova = 64 * MIB };

	return ioctl(pb_iommu_fd(fixture.iommu), IOMMU_IOAS_MAP_FILE, &map) ? -errno : 0;
}

static void undo_map_file(int ret)
{
	(void)ret;
	stranger_unmaps(64 * MIB, PAGE);
}

START_TEST(iommufd)
{
	at_every_place("mapping with iommufd", call_map_file, undo_map_file);
	ck_assert_uint_eq(query(pb_buffer_fd(one)).importers, 0);
}
END_TEST

static enum peerbar_model wanted;

static int call_test_export(void)
{
	return test_export_one(exporter, PEERBAR_TEST_SOURCE_CORE, wanted, 2 * PAGE);
}

static int call_move(void)
{
	int ret = test_move(exporter, asked, PEERBAR_TEST_PLACE_THERE);

	return ret < 0 ? ret : 0;
}

START_TEST(other_exporters)
{
	struct pb_watch *watch;

	/* Listen, so that events allocate memory, too. */
	ok(pb_watch_open(&watch, &err));
	for (wanted = PEERBAR_MODEL_PINNED; wanted <= PEERBAR_MODEL_DYNAMIC; wanted++)
		at_every_place("making a buffer", call_test_export, undo_fd);
	wanted = PEERBAR_MODEL_DYNAMIC;
	asked = call_test_export();
	at_every_place("moving", call_move, NULL);
	close(asked);
	pb_watch_close(watch);
}
END_TEST

/* A revoke must not fail when an allocation fails. */
START_TEST(revokes)
{
	struct pb_watch *watch;
	uint8_t *p;
	unsigned int n;

	ok(pb_watch_open(&watch, &err));
	for (n = 1; n < 12; n++) {
		struct pb_buffer *buffer = export_one(MIB, PAGE);

		p = map_fd(pb_buffer_fd(buffer), 0, PAGE);
		ck_assert(can_read(p, NULL));
		handle = test_import_attach(importer, pb_buffer_fd(buffer),
					    PEERBAR_TEST_KIND_REVOCABLE, 0, nic);
		ck_assert_int_gt(handle, 0);
		ck_assert_int_eq(test_import_map(importer, handle, NULL), 0);
		begin_injection(n);
		ck_assert_int_eq(feature_revoke(fixture.gpu, pb_buffer_fd(buffer)), 0);
		end_injection();
		ck_assert(!can_read(p, NULL));
		state_is(pb_buffer_fd(buffer), PEERBAR_STATE_DEAD);
		ck_assert(!test_import_is(importer, handle, PEERBAR_TEST_STATUS_MAPPED));
		ck_assert_int_eq(test_import_detach(importer, handle), 0);
		munmap(p, PAGE);
		pb_buffer_close(buffer);
	}
	pb_watch_close(watch);
}
END_TEST

/*
 * Return whether the guest's list has the BAR mapped at its address. If not, an allocation must
 * have failed.
 */
static bool guest_has_it(struct pb_guest *guest, uint64_t address)
{
	struct pb_guest_range *list;
	bool there = false;
	unsigned int i, n;

	ok(pb_guest_list(guest, &list, &n, &err));
	ck_assert_uint_gt(n, 0);
	for (i = 0; i < n; i++) {
		if (list[i].bar != GPU_BAR)
			continue;
		ck_assert_uint_eq(list[i].address, address);
		there = list[i].state == PB_GUEST_MAPPED;
		ck_assert_msg(there ||
				      (list[i].state == PB_GUEST_REFUSED &&
				       list[i].why.code == ENOMEM),
			      "%s: %s", pb_guest_state_name(list[i].state), list[i].why.text);
	}
	free(list);
	return there;
}

/*
 * Move a BAR while allocations fail. It must never be at its old address. It must be at the new
 * address, or nowhere until allocations succeed.
 */
START_TEST(a_guest)
{
	const uint64_t places[] = { 0x1000000000, 0x1100000000 };
	struct pb_guest_device *device;
	struct pb_guest *guest;
	unsigned int n;

	ok(pb_guest_create(&guest, &err));
	ok(pb_guest_add_ioas(guest, fixture.ioas, 0, &err));
	ok(pb_guest_add_device(guest, fixture.gpu, NULL, 0, NULL, &device, &err));
	ok(pb_guest_set_bar(device, GPU_BAR, places[0], &err));
	ok(pb_guest_set_decoding(device, true, &err));
	for (n = 1;; n++) {
		uint64_t to = places[n % 2], from = places[!(n % 2)];
		bool there, none;

		begin_injection(n);
		ok(pb_guest_set_bar(device, GPU_BAR, to, &err));
		none = end_injection();
		there = guest_has_it(guest, to);
		dma_faults(from, 0);
		if (!there) {
			dma_faults(to, 0);
			ok(pb_guest_sync(guest, 0, &err));
			ck_assert_uint_eq(pb_guest_nr_refused(guest), 0);
			ck_assert(guest_has_it(guest, to));
		}
		dma_lands(to, 0);
		if (none) {
			ck_assert(there);
			break;
		}
		ck_assert_uint_lt(n, 500);
	}
	sites += n - 1;
	pb_guest_destroy(guest);
}
END_TEST

START_TEST(not_on_this_kernel)
{
	puts("inject: skipped, this kernel has no failure injection (./lab check --kernel debug has)");
}
END_TEST

/* The lab fails a run whose log has these words, of another module than this. */
START_TEST(a_leak_is_reported)
{
	int log = log_open();

	module_load("peerbar-test-leak");
	ck_assert_int_eq(module_unload("peerbar_test_leak"), 0);
	ck_assert_msg(log_has(log, "allocated at module unload"),
		      "the kernel does not say what a module leaks");
}
END_TEST

LAB_SUITE("inject", 0)
{
	TCase *t;

	if (access(FAIL_NTH, F_OK)) {
		t = suite_case(s, "all", 150, NULL, NULL);
		tcase_add_test(t, not_on_this_kernel);
		return;
	}
	t = suite_case(s, "all", 150, inject_up, inject_down);
	tcase_add_test(t, exports);
	tcase_add_test(t, exports_in_the_kernel_thread);
	tcase_add_test(t, a_cookie);
	tcase_add_test(t, mappings);
	tcase_add_test(t, questions);
	tcase_add_test(t, importers);
	tcase_add_test(t, iommufd);
	tcase_add_test(t, other_exporters);
	tcase_add_test(t, revokes);
	/* edu is slow. */
	t = suite_case(s, "guest", 300, inject_up, inject_down);
	tcase_add_test(t, a_guest);
	t = suite_case(s, "leak", 150, NULL, NULL);
	tcase_add_test(t, a_leak_is_reported);
}
