// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Regions whose memory is revoked: temporarily, permanently, and by another exporter. */
#include <stdlib.h>
#include <unistd.h>

#include "modules.h"
#include "revoke-fixture.h"
#include "testmod.h"

/* ---- errors of a dead region ---- */

/*
 * @place is a region of pair.b's: remote requests fail with a remote access error, and both ends enter
 * the error state.
 */
static void remote_is_dead(struct place *place)
{
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ,
						      IBV_WR_ATOMIC_FETCH_AND_ADD };
	struct ibv_sge s = sge(&host.mem, 0, 8);
	unsigned int i;

	for (i = 0; i < 3; i++) {
		struct ibv_send_wr wr = work(i, opcodes[i], &s, 1, &place->mem, 64);

		fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
		in_error(&pair.a);
		event_comes(&pair.b, IBV_EVENT_QP_ACCESS_ERR);
		in_error(&pair.b);
		replace_qps(&pair.a, &pair.b);
	}
}

/* Local requests with the region fail with a protection error. */
static void local_is_dead(struct place *place)
{
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ,
						      IBV_WR_ATOMIC_FETCH_AND_ADD, IBV_WR_SEND };
	struct ibv_sge s = sge(&place->mem, 0, 8),
		       to = { .addr = (uintptr_t)host.mem.p,
			      .length = 8,
			      .lkey = host.mem.mr->lkey };
	struct ibv_send_wr wr;
	unsigned int i;

	for (i = 0; i < 4; i++) {
		wr = work(i, opcodes[i], &s, 1, i < 3 ? &host.mem : NULL, 64);
		if (i == 3)
			ck_assert_int_eq(post_receive(&pair.a, 9, &to, 1), 0);
		fails(&pair.b, &wr, IBV_WC_LOC_PROT_ERR);
		in_error(&pair.b);
		replace_qps(&pair.a, &pair.b);
	}
	/* A message for a receive in this memory. */
	wr = work(5, IBV_WR_SEND, &to, 1, NULL, 0);
	ck_assert_int_eq(post_receive(&pair.b, 6, &s, 1), 0);
	fails(&pair.a, &wr, IBV_WC_REM_OP_ERR);
	completes(&pair.b, 6, IBV_WC_LOC_PROT_ERR);
	in_error(&pair.a);
	in_error(&pair.b);
	replace_qps(&pair.a, &pair.b);
}

static void becomes_dead(enum kind kind, enum how how)
{
	struct place place, fresh;
	uint8_t *before = malloc(SIZE);
	struct ibv_mr *mr;
	uint32_t key;
	int error;

	if (!can(how))
		return;
	ck_assert_ptr_nonnull(before);
	place_make(&place, kind, SIZE, 1);
	place_register(&place, &pair.b, ALL_ACCESS);
	key = place.mem.mr->rkey;
	works(&place, 1);
	place_read(&place, 0, before, SIZE);
	take_away(&place, how);
	remote_is_dead(&place);
	local_is_dead(&place);
	/* No byte may change, in the host's view. */
	ck_assert_msg(place_has(&place, 0, before, SIZE), "%s: bytes changed afterwards",
		      how_names[how]);
	if (!is_reset(how)) {
		/* Nor can the memory be registered again. */
		error = part_register(&place, &pair.b, 0, SIZE, place.mem.addr, ALL_ACCESS, &mr);
		ck_assert_msg(error, "%s: it can be registered all the same", how_names[how]);
	}
	/* Revoking again is harmless. */
	take_away(&place, how);
	give_back(how);
	/* The old region stays dead. A new one works if there is memory again. */
	remote_is_dead(&place);
	ck_assert(place_has(&place, 0, before, SIZE));
	if (how == KILL) {
		ck_assert_int_eq(part_register(&place, &pair.b, 0, SIZE, place.mem.addr, ALL_ACCESS,
					       &mr),
				 ENODEV);
		place_make(&fresh, kind, SIZE, 1);
	} else {
		fresh = place;
	}
	place_register(&fresh, &pair.b, ALL_ACCESS);
	ck_assert_uint_ne(fresh.mem.mr->rkey, key);
	works(&fresh, 2);
	remote_is_dead(&place);
	ck_assert_int_eq(ibv_dereg_mr(place.mem.mr), 0);
	place.mem.mr = NULL;
	works(&fresh, 3);
	/* No attachment may be left. */
	ck_assert_int_eq(ibv_dereg_mr(fresh.mem.mr), 0);
	fresh.mem.mr = NULL;
	ck_assert_uint_eq(importers(fresh.fd), 0);
	ck_assert_uint_eq(importers(place.fd), 0);
	place_close(&fresh);
	if (how == KILL)
		place_close(&place);
	free(before);
}

START_TEST(before_traffic)
{
	becomes_dead(BAR, (enum how)_i);
	/* The stock driver's cannot be mapped at all, see several_ranges_of_stock. */
	if (lab_driver_is_ours())
		becomes_dead(PARTS, (enum how)_i);
}
END_TEST

/* Memory of a module that is no VFIO driver. The module reads the bytes. */
START_TEST(of_another_exporter)
{
	struct place place;
	uint8_t *before = malloc(SIZE);
	struct ibv_mr *mr;
	int i;

	for (i = 0; i < 2; i++) {
		place_make(&place, REVOCABLE, SIZE, 0);
		place_register(&place, &pair.b, ALL_ACCESS);
		works(&place, 1);
		place_read(&place, 0, before, SIZE);
		ck_assert_int_eq(i ? test_kill(place.exporter, place.fd) :
				     test_revoke(place.exporter, place.fd),
				 0);
		remote_is_dead(&place);
		local_is_dead(&place);
		ck_assert(place_has(&place, 0, before, SIZE));
		if (!i)
			ck_assert_int_eq(test_restore(place.exporter, place.fd), 0);
		remote_is_dead(&place);
		ck_assert_int_eq(ibv_dereg_mr(place.mem.mr), 0);
		place.mem.mr = NULL;
		if (i) {
			ck_assert_int_eq(part_register(&place, &pair.b, 0, SIZE, 0, ALL_ACCESS,
						       &mr),
					 ENODEV);
		} else {
			place_register(&place, &pair.b, ALL_ACCESS);
			works(&place, 2);
		}
		place_close(&place);
	}
	free(before);
}
END_TEST

/* A dead region's key is not reused until it is deregistered. */
START_TEST(key_stays_taken)
{
	struct place place;
	struct ibv_mr *mrs[600];
	uint32_t key;
	int i;

	place_make(&place, BAR, SIZE, 1);
	place_register(&place, &pair.b, ALL_ACCESS);
	key = place.mem.mr->rkey;
	take_away(&place, KILL);
	for (i = 0; i < 600; i++) {
		mrs[i] = ibv_reg_mr(pair.b.pd, host_b.p, SIZE, ALL_ACCESS);
		ck_assert_ptr_nonnull(mrs[i]);
		ck_assert_msg(mrs[i]->rkey >> 8 != key >> 8,
			      "the key 0x%x of a revoked region is given to another, as 0x%x", key,
			      mrs[i]->rkey);
	}
	remote_is_dead(&place);
	for (i = 0; i < 600; i++)
		ck_assert_int_eq(ibv_dereg_mr(mrs[i]), 0);
	place_close(&place);
}
END_TEST

/* Neither a buffer beside it nor a region deregistered before is affected. */
START_TEST(only_that_one)
{
	struct place place, beside;
	struct ibv_mr *gone;

	place_make(&place, BAR, SIZE, 0);
	place_make(&beside, BAR, SIZE, 1);
	place_register(&place, &pair.b, ALL_ACCESS);
	place_register(&beside, &pair.b, ALL_ACCESS);
	ck_assert_int_eq(part_register(&place, &pair.b, 0, PAGE, 0, ALL_ACCESS, &gone), 0);
	ck_assert_int_eq(ibv_dereg_mr(gone), 0);
	take_away(&place, KILL);
	works(&beside, 1);
	remote_is_dead(&place);
	works(&beside, 2);
	place_close(&place);
	place_close(&beside);
}
END_TEST

START_TEST(device_closed)
{
	struct place place;
	struct ibv_mr *mr;

	place_make(&place, BAR, SIZE, 1);
	place_register(&place, &pair.b, ALL_ACCESS);
	works(&place, 1);
	pb_device_close(fixture.gpu);
	fixture.gpu = NULL;
	places_down();
	remote_is_dead(&place);
	local_is_dead(&place);
	ck_assert_int_eq(part_register(&place, &pair.b, 0, SIZE, 0, ALL_ACCESS, &mr), ENODEV);
	place_close(&place);
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	places_up();
	place_make(&place, BAR, SIZE, 1);
	place_register(&place, &pair.b, ALL_ACCESS);
	works(&place, 2);
	place_close(&place);
}
END_TEST

/* ---- test cases ---- */

LAB_SUITE("rdma-revoke", 0)
{
	TCase *t = rdma_case(s, "ours", 300, revoke_up, revoke_down);

	tcase_add_loop_test(t, before_traffic, 0, NR_HOW);
	tcase_add_test(t, of_another_exporter);
	tcase_add_test(t, key_stays_taken);
	tcase_add_test(t, only_that_one);
	tcase_add_test(t, device_closed);
	t = rdma_case(s, "stock", 300, stock_up, stock_down);
	tcase_add_loop_test(t, before_traffic, DECODING, NR_HOW);
}
