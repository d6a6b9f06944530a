// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The test exporter's VRAM, which other suites rely on: dma-bufs in the GPU's BAR that move, are
 * pinned, and migrate to system memory, as GPU drivers' do.
 */
#include <linux/peerbar.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"
#include "modules.h"
#include "vram.h"

#define ENOTSUPP 524

static int importer;

static void up(void)
{
	vram_up();
	importer = test_importer_open();
}

static void down(void)
{
	close(importer);
	vram_down();
}

static int attach(int fd, enum peerbar_test_kind kind, bool peer)
{
	int handle = test_import_attach(importer, fd, kind, PEERBAR_TEST_ATTACH_ANY,
					peer ? lab_bdf(LAB_NIC) : NULL);

	ck_assert_msg(handle > 0, "it refuses importer %d: %s", (int)kind, strerror(-handle));
	return handle;
}

static void write_pattern(int fd, uint64_t offset, uint8_t *bytes, uint32_t seed)
{
	lab_pattern(bytes, LEN, seed);
	ck_assert_int_eq(test_write(vram_exporter, fd, PEERBAR_TEST_PLACE_HERE, offset, bytes, LEN),
			 0);
}

static void reads_as(int fd, uint64_t offset, const uint8_t *bytes)
{
	uint8_t back[LEN];

	ck_assert_int_eq(test_read(vram_exporter, fd, PEERBAR_TEST_PLACE_HERE, offset, back, LEN),
			 0);
	ck_assert_mem_eq(back, bytes, LEN);
}

static bool poisoned(uint64_t bar_offset)
{
	uint8_t bytes[LEN];

	memset(bytes, PEERBAR_TEST_POISON, LEN);
	return lab_host_sees(bar_offset, bytes, LEN);
}

START_TEST(it_moves_in_the_bar)
{
	int fd = vram_export(0, MIB), handle;
	struct peerbar_test_map map;
	uint8_t bytes[LEN];

	write_pattern(fd, PAGE, bytes, 1);
	ck_assert(lab_host_sees(VRAM_A + PAGE, bytes, LEN));
	handle = attach(fd, PEERBAR_TEST_KIND_DYNAMIC, true);
	ck_assert_int_eq(test_import_map(importer, handle, &map), 0);
	ck_assert_uint_eq(map.nr_segments ? map.segments[0].len : 0, MIB);
	ck_assert_int_eq(test_move(vram_exporter, fd, PEERBAR_TEST_PLACE_B), PEERBAR_TEST_PLACE_B);
	ck_assert(!test_import_is(importer, handle, PEERBAR_TEST_STATUS_MAPPED));
	ck_assert_uint_eq(vram_bar_offset(fd, PAGE), VRAM_B + PAGE);
	ck_assert(vram_host_sees(fd, PAGE, bytes, LEN));
	ck_assert(poisoned(VRAM_A + PAGE));
	/* And through system memory back to the first place. */
	ck_assert_int_eq(test_move(vram_exporter, fd, PEERBAR_TEST_PLACE_SYSTEM),
			 PEERBAR_TEST_PLACE_SYSTEM);
	ck_assert_uint_eq(vram_bar_offset(fd, 0), PEERBAR_TEST_NO_BAR);
	reads_as(fd, PAGE, bytes);
	ck_assert(poisoned(VRAM_B + PAGE));
	ck_assert_int_eq(test_move(vram_exporter, fd, PEERBAR_TEST_PLACE_THERE),
			 PEERBAR_TEST_PLACE_A);
	ck_assert(lab_host_sees(VRAM_A + PAGE, bytes, LEN));
	close(fd);
}
END_TEST

START_TEST(a_pin_keeps_it_where_peers_reach_it)
{
	int fd = vram_export(0, MIB), pin = attach(fd, PEERBAR_TEST_KIND_PINNING, true);
	struct peerbar_test_where w;

	ck_assert_int_eq(test_import_map(importer, pin, NULL), 0);
	ck_assert_int_eq(vram_place(fd), PEERBAR_TEST_PLACE_A);
	ck_assert_int_eq(test_where(vram_exporter, fd, PEERBAR_TEST_PLACE_HERE, 0, &w), 0);
	ck_assert_uint_eq(w.pins, 1);
	ck_assert_int_eq(test_move(vram_exporter, fd, PEERBAR_TEST_PLACE_B), -EBUSY);
	/* An importer that no P2P reaches cannot have it meanwhile. */
	ck_assert_int_eq(test_import_map(importer, attach(fd, PEERBAR_TEST_KIND_DYNAMIC, false),
					 NULL),
			 -EINVAL);
	ck_assert_int_eq(test_import_detach(importer, pin), 0);
	ck_assert_int_eq(test_move(vram_exporter, fd, PEERBAR_TEST_PLACE_B), PEERBAR_TEST_PLACE_B);
	close(fd);
}
END_TEST

START_TEST(it_migrates_for_those_that_do_not_reach_it)
{
	int fd = vram_export(0, MIB), pin, handle;
	uint8_t bytes[LEN];

	write_pattern(fd, 0, bytes, 2);
	pin = attach(fd, PEERBAR_TEST_KIND_PINNING, false);
	ck_assert_int_eq(vram_place(fd), PEERBAR_TEST_PLACE_SYSTEM);
	reads_as(fd, 0, bytes);
	ck_assert(poisoned(VRAM_A));
	ck_assert_int_eq(test_import_detach(importer, pin), 0);
	/* A peer's pin brings it back. */
	pin = attach(fd, PEERBAR_TEST_KIND_PINNING, true);
	ck_assert_int_eq(vram_place(fd), PEERBAR_TEST_PLACE_A);
	ck_assert(lab_host_sees(VRAM_A, bytes, LEN));
	ck_assert_int_eq(test_import_detach(importer, pin), 0);
	/* A mapping takes it away too, and a static importer's. */
	handle = attach(fd, PEERBAR_TEST_KIND_DYNAMIC, false);
	ck_assert_int_eq(test_import_map(importer, handle, NULL), 0);
	ck_assert_int_eq(vram_place(fd), PEERBAR_TEST_PLACE_SYSTEM);
	ck_assert_int_eq(test_import_detach(importer, handle), 0);
	ck_assert_int_eq(test_move(vram_exporter, fd, PEERBAR_TEST_PLACE_A), PEERBAR_TEST_PLACE_A);
	handle = attach(fd, PEERBAR_TEST_KIND_STATIC, true);
	ck_assert_int_eq(vram_place(fd), PEERBAR_TEST_PLACE_A);
	ck_assert_int_eq(test_import_map(importer, handle, NULL), 0);
	ck_assert_int_eq(vram_place(fd), PEERBAR_TEST_PLACE_SYSTEM);
	close(fd);
	/* Or it does not migrate at all. */
	fd = vram_export(PEERBAR_TEST_VRAM_STAY, MIB);
	ck_assert_int_eq(test_import_attach(importer, fd, PEERBAR_TEST_KIND_PINNING,
					    PEERBAR_TEST_ATTACH_ANY, NULL),
			 -EOPNOTSUPP);
	handle = attach(fd, PEERBAR_TEST_KIND_DYNAMIC, false);
	ck_assert_int_eq(test_import_map(importer, handle, NULL), -EOPNOTSUPP);
	ck_assert_int_eq(vram_place(fd), PEERBAR_TEST_PLACE_A);
	close(fd);
}
END_TEST

START_TEST(it_migrates_at_once)
{
	int fd = vram_export(PEERBAR_TEST_VRAM_STATIC_MIGRATES, MIB);

	attach(fd, PEERBAR_TEST_KIND_DYNAMIC, true);
	ck_assert_int_eq(vram_place(fd), PEERBAR_TEST_PLACE_A);
	attach(fd, PEERBAR_TEST_KIND_STATIC, true);
	ck_assert_int_eq(vram_place(fd), PEERBAR_TEST_PLACE_SYSTEM);
	close(fd);
	fd = vram_export(PEERBAR_TEST_VRAM_NO_PIN | PEERBAR_TEST_VRAM_ATTACH_MIGRATES, MIB);
	attach(fd, PEERBAR_TEST_KIND_DYNAMIC, true);
	ck_assert_int_eq(vram_place(fd), PEERBAR_TEST_PLACE_SYSTEM);
	close(fd);
}
END_TEST

START_TEST(its_segments_are_scattered)
{
	struct peerbar_test_vram_segment segments[24];
	int fd = vram_export_scattered(0, 24, segments), handle;
	uint64_t offset = 0;
	struct peerbar_test_map map;
	uint8_t bytes[LEN];
	unsigned int i;

	handle = attach(fd, PEERBAR_TEST_KIND_DYNAMIC, true);
	ck_assert_int_eq(test_import_map(importer, handle, &map), 0);
	ck_assert_uint_eq(map.nr_segments, 24);
	for (i = 0; i < 24; i++) {
		ck_assert_uint_eq(map.segments[i].len, segments[i].length);
		write_pattern(fd, offset, bytes, i);
		ck_assert(lab_host_sees(segments[i].a, bytes, LEN));
		offset += segments[i].length;
	}
	ck_assert_int_eq(test_move(vram_exporter, fd, PEERBAR_TEST_PLACE_B), PEERBAR_TEST_PLACE_B);
	ck_assert(lab_host_sees(segments[23].b, bytes, LEN));
	close(fd);
}
END_TEST

START_TEST(its_addresses_are_not_translated)
{
	int fd = vram_export(PEERBAR_TEST_VRAM_UNTRANSLATED, MIB),
	    handle = attach(fd, PEERBAR_TEST_KIND_DYNAMIC, true);
	struct peerbar_test_where w;
	struct peerbar_test_map map;

	ck_assert_int_eq(test_import_map(importer, handle, &map), 0);
	ck_assert_int_eq(test_where(vram_exporter, fd, PEERBAR_TEST_PLACE_HERE, 0, &w), 0);
	ck_assert_uint_eq(map.segments[0].addr, w.paddr);
	close(fd);
	fd = vram_export(0, MIB);
	handle = attach(fd, PEERBAR_TEST_KIND_DYNAMIC, true);
	ck_assert_int_eq(test_import_map(importer, handle, &map), 0);
	ck_assert_uint_ne(map.segments[0].addr, w.paddr);
	close(fd);
}
END_TEST

START_TEST(it_fails)
{
	static const int errors[] = { ENOTSUPP, EAGAIN, ENOMEM };
	int fd = vram_export(0, MIB), handle = attach(fd, PEERBAR_TEST_KIND_DYNAMIC, true);
	size_t i;

	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		ck_assert_int_eq(test_fail(vram_exporter, fd, PEERBAR_TEST_FAIL_MAP,
					   (unsigned int)errors[i], 2),
				 0);
		ck_assert_int_eq(test_import_map(importer, handle, NULL), -errors[i]);
		ck_assert_int_eq(test_import_map(importer, handle, NULL), -errors[i]);
		ck_assert_int_eq(test_import_map(importer, handle, NULL), 0);
		ck_assert_int_eq(test_import_unmap(importer, handle), 0);
	}
	ck_assert_int_eq(test_fail(vram_exporter, fd, PEERBAR_TEST_FAIL_PIN, ENOMEM, 0), 0);
	ck_assert_int_eq(test_import_attach(importer, fd, PEERBAR_TEST_KIND_PINNING,
					    PEERBAR_TEST_ATTACH_ANY, lab_bdf(LAB_NIC)),
			 -ENOMEM);
	ck_assert_int_eq(test_fail(vram_exporter, fd, PEERBAR_TEST_FAIL_PIN, 0, 0), 0);
	attach(fd, PEERBAR_TEST_KIND_PINNING, true);
	close(fd);
}
END_TEST

START_TEST(it_moves_every_millisecond)
{
	int fd = vram_export(0, 16 * PAGE), handle = attach(fd, PEERBAR_TEST_KIND_DYNAMIC, true);
	struct timespec second = { .tv_sec = 1 };
	struct peerbar_test_where w;
	uint8_t bytes[LEN];

	write_pattern(fd, 0, bytes, 3);
	ck_assert_int_eq(test_automove(vram_exporter, fd, 1), 0);
	nanosleep(&second, NULL);
	ck_assert_int_eq(test_automove(vram_exporter, fd, 0), 0);
	ck_assert_int_eq(test_where(vram_exporter, fd, PEERBAR_TEST_PLACE_HERE, 0, &w), 0);
	ck_assert_msg(w.moves > 100, "it moved %u times", w.moves);
	ck_assert(vram_host_sees(fd, 0, bytes, LEN));
	ck_assert_int_eq(test_import_detach(importer, handle), 0);
	close(fd);
}
END_TEST

START_TEST(a_pin_does_not_prevent_revoking)
{
	int fd = vram_export(0, MIB), pin = attach(fd, PEERBAR_TEST_KIND_PINNING, true),
	    other = attach(fd, PEERBAR_TEST_KIND_DYNAMIC, true);

	ck_assert_int_eq(test_import_map(importer, other, NULL), 0);
	ck_assert_int_eq(test_revoke(vram_exporter, fd), 0);
	ck_assert(!test_import_is(importer, other, PEERBAR_TEST_STATUS_MAPPED));
	ck_assert_int_eq(test_import_map(importer, other, NULL), -ENODEV);
	ck_assert_int_eq(test_restore(vram_exporter, fd), 0);
	ck_assert_int_eq(test_import_map(importer, other, NULL), 0);
	ck_assert_int_eq(test_import_map(importer, pin, NULL), 0);
	/* An importer that cannot be invalidated still has it, and says so. */
	ck_assert_int_eq(test_kill(vram_exporter, fd), -EBUSY);
	ck_assert_int_eq(test_import_detach(importer, pin), 0);
	ck_assert_int_eq(test_kill(vram_exporter, fd), 0);
	ck_assert_int_eq(test_restore(vram_exporter, fd), -ENODEV);
	close(fd);
}
END_TEST

/* The driver is unbound while a dma-buf exists, and while an importer maps it. */
START_TEST(its_device_goes)
{
	int fd = vram_export(0, MIB), handle = attach(fd, PEERBAR_TEST_KIND_DYNAMIC, true);

	ck_assert_int_eq(test_import_map(importer, handle, NULL), 0);
	ok(pb_pci_bind(lab_bdf(LAB_GPU), lab_driver(), &err));
	ck_assert(!test_import_is(importer, handle, PEERBAR_TEST_STATUS_MAPPED));
	ck_assert_int_eq(test_import_map(importer, handle, NULL), -ENODEV);
	ck_assert_int_eq(test_move(vram_exporter, fd, PEERBAR_TEST_PLACE_B), -ENODEV);
	close(fd);
}
END_TEST

/* ---- what a query reports, without moving it ---- */

static void info_of(int fd, bool probe, struct pb_buffer_info *info)
{
	struct pb_buffer *buffer;

	ok(pb_buffer_from_fd(fd, &buffer, &err));
	ok(probe ? pb_buffer_probe(buffer, info, &err) : pb_buffer_query(buffer, info, &err));
	pb_buffer_close(buffer);
}

START_TEST(a_query_does_not_move_it)
{
	static const unsigned int manners[] = {
		0,
		PEERBAR_TEST_VRAM_STATIC_MIGRATES,
		PEERBAR_TEST_VRAM_ATTACH_MIGRATES,
		PEERBAR_TEST_VRAM_NO_PIN | PEERBAR_TEST_VRAM_STATIC_MIGRATES,
		PEERBAR_TEST_VRAM_NO_PIN | PEERBAR_TEST_VRAM_ATTACH_MIGRATES,
	};
	struct pb_buffer_info info;
	struct peerbar_test_where w;
	size_t i;

	for (i = 0; i < sizeof(manners) / sizeof(manners[0]); i++) {
		int fd = vram_export(manners[i], MIB);
		bool pins = !(manners[i] & PEERBAR_TEST_VRAM_NO_PIN);

		info_of(fd, false, &info);
		ck_assert_int_eq(info.model, pins ? PB_DYNAMIC : PB_UNKNOWN);
		ck_assert_int_eq(info.basis, pins ? PB_BASIS_DERIVED : PB_BASIS_NONE);
		ck_assert_int_eq(info.can_pin, pins ? PB_ANSWER_YES : PB_ANSWER_NO);
		ck_assert_int_eq(info.can_pin_basis, PB_BASIS_DERIVED);
		ck_assert_int_eq(info.can_revoke, PB_ANSWER_UNKNOWN);
		ck_assert_int_eq(info.state, PB_BUFFER_UNKNOWN);
		ck_assert_int_eq(info.place, PB_PLACE_UNKNOWN);
		ck_assert_str_eq(info.driver, "peerbar_test_exporter");
		ck_assert_int_eq(test_where(vram_exporter, fd, PEERBAR_TEST_PLACE_HERE, 0, &w), 0);
		ck_assert_uint_eq(w.moves, 0);
		/* What is asked for may move it. */
		info_of(fd, true, &info);
		ck_assert_int_eq(info.model, pins ? PB_DYNAMIC : PB_PINNED);
		ck_assert_int_eq(info.state, PB_BUFFER_LIVE);
		ck_assert_int_eq(vram_place(fd),
				 manners[i] & PEERBAR_TEST_VRAM_ATTACH_MIGRATES ||
						 (!pins &&
						  manners[i] & PEERBAR_TEST_VRAM_STATIC_MIGRATES) ?
					 PEERBAR_TEST_PLACE_SYSTEM :
					 PEERBAR_TEST_PLACE_A);
		close(fd);
	}
}
END_TEST

START_TEST(it_is_revoked_and_says_so)
{
	int fd = vram_export(0, MIB);
	struct pb_buffer_info info;

	ck_assert_int_eq(test_revoke(vram_exporter, fd), 0);
	info_of(fd, false, &info);
	ck_assert_int_eq(info.model, PB_DYNAMIC);
	ck_assert_int_eq(info.state, PB_BUFFER_UNKNOWN);
	info_of(fd, true, &info);
	ck_assert_int_eq(info.model, PB_DYNAMIC);
	ck_assert_int_eq(info.state, PB_BUFFER_REVOKED);
	ck_assert_int_eq(info.state_basis, PB_BASIS_DERIVED);
	close(fd);
	fd = vram_export(PEERBAR_TEST_VRAM_NO_PIN, MIB);
	ck_assert_int_eq(test_revoke(vram_exporter, fd), 0);
	info_of(fd, true, &info);
	ck_assert_int_eq(info.model, PB_REVOCABLE);
	ck_assert_int_eq(info.can_revoke, PB_ANSWER_YES);
	ck_assert_int_eq(info.state, PB_BUFFER_REVOKED);
	close(fd);
}
END_TEST

/* An exporter that declares it reports the place at any time. */
START_TEST(it_says_where_it_is)
{
	int fd = vram_export(PEERBAR_TEST_VRAM_DECLARED, MIB);
	struct pb_buffer_info info;

	info_of(fd, false, &info);
	ck_assert_int_eq(info.model, PB_DYNAMIC);
	ck_assert_int_eq(info.basis, PB_BASIS_DECLARED);
	ck_assert_int_eq(info.can_pin, PB_ANSWER_YES);
	ck_assert_int_eq(info.can_revoke, PB_ANSWER_YES);
	ck_assert_int_eq(info.can_revoke_basis, PB_BASIS_DECLARED);
	ck_assert_int_eq(info.state, PB_BUFFER_LIVE);
	ck_assert_int_eq(info.place, PB_PLACE_BAR);
	ck_assert_int_eq(info.place_basis, PB_BASIS_DECLARED);
	ck_assert_str_eq(info.place_bdf, lab_bdf(LAB_GPU));
	ck_assert_uint_eq(info.place_bar, GPU_BAR);
	ck_assert_uint_eq(info.place_offset, VRAM_A);
	ck_assert_int_eq(test_move(vram_exporter, fd, PEERBAR_TEST_PLACE_B), PEERBAR_TEST_PLACE_B);
	info_of(fd, false, &info);
	ck_assert_uint_eq(info.place_offset, VRAM_B);
	ck_assert_int_eq(test_move(vram_exporter, fd, PEERBAR_TEST_PLACE_SYSTEM),
			 PEERBAR_TEST_PLACE_SYSTEM);
	info_of(fd, false, &info);
	ck_assert_int_eq(info.place, PB_PLACE_SYSTEM);
	ck_assert_str_eq(info.place_bdf, "");
	ck_assert_int_eq(test_revoke(vram_exporter, fd), 0);
	info_of(fd, false, &info);
	ck_assert_int_eq(info.state, PB_BUFFER_REVOKED);
	ck_assert_int_eq(test_kill(vram_exporter, fd), 0);
	info_of(fd, false, &info);
	ck_assert_int_eq(info.state, PB_BUFFER_DEAD);
	close(fd);
}
END_TEST

LAB_SUITE("vram", 0)
{
	TCase *t = suite_case(s, "all", 60, up, down);

	tcase_add_test(t, it_moves_in_the_bar);
	tcase_add_test(t, a_pin_keeps_it_where_peers_reach_it);
	tcase_add_test(t, it_migrates_for_those_that_do_not_reach_it);
	tcase_add_test(t, it_migrates_at_once);
	tcase_add_test(t, its_segments_are_scattered);
	tcase_add_test(t, its_addresses_are_not_translated);
	tcase_add_test(t, it_fails);
	tcase_add_test(t, it_moves_every_millisecond);
	tcase_add_test(t, a_pin_does_not_prevent_revoking);
	tcase_add_test(t, its_device_goes);
	tcase_add_test(t, a_query_does_not_move_it);
	tcase_add_test(t, it_is_revoked_and_says_so);
	tcase_add_test(t, it_says_where_it_is);
}
