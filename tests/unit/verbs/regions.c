// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Regions: registration, its errors, and their states. */
#include "../../sentence.h"
#include "mock.h"

START_TEST(a_region)
{
	struct pbv_mr *mr;
	int data;

	ok(reg(0, RW, PAGE + 5, 3 * PAGE, 0x700000005));
	ck_assert_uint_eq(pbv_mr_offset(mr), PAGE + 5);
	ck_assert_uint_eq(pbv_mr_length(mr), 3 * PAGE);
	ck_assert_uint_eq(pbv_mr_iova(mr), 0x700000005);
	ck_assert_uint_eq(pb_buffer_id(pbv_mr_buffer(mr)), 100);
	ck_assert_ptr_nonnull(pbv_mr_verbs(mr));
	ck_assert_ptr_null(pbv_mr_data(mr));
	pbv_mr_set_data(mr, &data);
	ck_assert_ptr_eq(pbv_mr_data(mr), &data);
	ck_assert_int_eq(pbv_mr_state(mr), PBV_LIVE);
	dereg_errno = EBUSY;
	refused(pbv_dereg(mr, &err), EBUSY, "memory window");
	dereg_errno = EIO;
	refused(pbv_dereg(mr, &err), EIO, "ibv_dereg_mr");
	dereg_errno = 0;
	ok(pbv_dereg(mr, &err));
	ok(pbv_dereg(NULL, &err));
	/* The whole buffer, and its last byte. */
	ok(reg(0, 0, 0, 64 * PAGE, 0));
	ok(pbv_dereg(mr, &err));
	ok(reg(0, RW, 64 * PAGE - 1, 1, PAGE - 1));
	ok(pbv_dereg(mr, &err));
}
END_TEST

START_TEST(wrong_arguments)
{
	struct pbv_mr *mr;

	refused(reg(0, RW, 0, 0, 0), EINVAL, "length must not be 0");
	refused(reg(4, RW, 0, PAGE, 0), EINVAL, "flags 0x4");
	refused(reg(0, RW, 0, 64 * PAGE + 1, 0), ERANGE, "size is 0x40000");
	refused(reg(0, RW, 64 * PAGE, 1, 0), ERANGE, "size is 0x40000");
	refused(reg(0, RW, PAGE, UINT64_MAX, 0), ERANGE, "size is 0x40000");
	refused(reg(0, RW, UINT64_MAX, PAGE, PAGE - 1), ERANGE, "size is 0x40000");
	refused(reg(0, RW, 5, PAGE, 6), EINVAL, "offset, 0x5");
	refused(reg(0, RW, 0, 2 * PAGE, 0 - PAGE), EINVAL, "beyond 2^64");
	refused(reg(0, IBV_ACCESS_REMOTE_WRITE, 0, PAGE, 0), EINVAL, "IBV_ACCESS_LOCAL_WRITE");
	refused(reg(0, IBV_ACCESS_REMOTE_ATOMIC, 0, PAGE, 0), EINVAL, "IBV_ACCESS_LOCAL_WRITE");
	/* The error is optional. */
	ck_assert_int_eq(pbv_reg_buffer(the_pd, buffer, 0, 0, 0, RW, 0, &mr, NULL), -EINVAL);
	/* nothing came to the device */
	ck_assert_uint_eq(registrations + queries, 0);
}
END_TEST

START_TEST(models_that_are_refused)
{
	struct pbv_mr *mr;

	infos[0].model = PB_DYNAMIC;
	refused(reg(PBV_UNKNOWN_MODEL, RW, 0, PAGE, 0), EOPNOTSUPP,
		"DYNAMIC, so it may move at any time, and mock0 cannot "
		"follow");
	odp = true;
	ok(reg(0, RW, 0, PAGE, 0));
	ok(pbv_dereg(mr, &err));
	infos[0].model = PB_UNKNOWN;
	probed_model = PB_REVOCABLE;
	ok(reg(0, RW, 0, PAGE, 0));
	ok(pbv_dereg(mr, &err));
	probed_model = PB_UNKNOWN;
	refused(reg(0, RW, 0, PAGE, 0), EOPNOTSUPP, "PBV_UNKNOWN_MODEL registers it anyway");
	ok(reg(PBV_UNKNOWN_MODEL, RW, 0, PAGE, 0));
	ok(pbv_dereg(mr, &err));
	ck_assert_uint_eq(registrations, 3);
}
END_TEST

START_TEST(a_moving_buffer_is_pinned_or_followed)
{
	struct pbv_mr *mr;

	infos[0].model = PB_DYNAMIC;
	/* Pinning must be allowed. */
	refused(reg(0, RW, 0, PAGE, 0), EOPNOTSUPP, "PBV_PIN registers it pinned");
	ok(reg(PBV_PIN, RW, 0, PAGE, 0));
	ck_assert_int_eq(last_access, RW);
	ok(pbv_dereg(mr, &err));
	refused(reg(PBV_PIN, RW | IBV_ACCESS_ON_DEMAND, 0, PAGE, 0), EINVAL, "give one of them");
	infos[0].can_pin = PB_ANSWER_NO;
	refused(reg(0, RW, 0, PAGE, 0), EOPNOTSUPP, "cannot pin it either");
	refused(reg(PBV_PIN, RW, 0, PAGE, 0), EOPNOTSUPP, "'mock' cannot pin it");
	/* A device that follows needs no permission. Only peerbar's is told. */
	odp = true;
	ok(reg(0, RW | IBV_ACCESS_ON_DEMAND, 0, PAGE, 0));
	ck_assert_int_eq(last_access, RW);
	ok(pbv_dereg(mr, &err));
	own = true;
	ok(reg(0, RW, 0, PAGE, 0));
	ck_assert_int_eq(last_access, RW | IBV_ACCESS_ON_DEMAND);
	ok(pbv_dereg(mr, &err));
	infos[0].can_pin = PB_ANSWER_YES;
	ok(reg(PBV_PIN, RW, 0, PAGE, 0));
	ck_assert_int_eq(last_access, RW);
	ok(pbv_dereg(mr, &err));
	/* Other models need neither. */
	infos[0].model = PB_REVOCABLE;
	ok(reg(PBV_PIN, RW, 0, PAGE, 0));
	ck_assert_int_eq(last_access, RW);
	ok(pbv_dereg(mr, &err));
}
END_TEST

START_TEST(every_errno_has_its_sentence)
{
	static const struct {
		int code, want;
		const char *words;
	} cases[] = {
		{ ENODEV, ENODEV, "the buffer is revoked" },
		{ EOPNOTSUPP, EOPNOTSUPP, "refuses the device" },
		{ ENOSYS, EOPNOTSUPP, "refuses the device" },
		{ EPROTONOSUPPORT, EOPNOTSUPP, "refuses the device" },
		{ EINVAL, EINVAL, "cannot reach" },
		{ EREMOTEIO, EREMOTEIO, "cannot reach" },
		{ ENOMEM, ENOMEM, "no room for one more region" },
		{ EBADF, EBADF, "dma-buf" },
		{ EIO, EIO, "Input/output error" },
		{ 524, EOPNOTSUPP, "ENOTSUPP (524)" },
		{ EAGAIN, EAGAIN, "fails with EAGAIN" },
		{ EBUSY, EBUSY, "fails with EBUSY" },
		{ 512, 512, "error 512" },
		{ EPERM, EPERM, "ibv_reg_dmabuf_mr" },
	};
	struct pbv_mr *mr;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		reg_errno = cases[i].code;
		refused(reg(0, RW, 0, PAGE, 0), cases[i].want, cases[i].words);
	}
	no_dmabufs = true;
	refused(reg(0, RW, 0, PAGE, 0), EOPNOTSUPP, "cannot register dma-bufs");
	/* A buffer known to be revoked is not registered. */
	no_dmabufs = false;
	reg_errno = 0;
	infos[0].state = PB_BUFFER_DEAD;
	refused(reg(0, RW, 0, PAGE, 0), ENODEV, "revoked permanently");
	infos[0].state = PB_BUFFER_REVOKED;
	refused(reg(0, RW, 0, PAGE, 0), ENODEV, "memory decoding");
	ck_assert_uint_eq(registrations, 0);
}
END_TEST

START_TEST(what_a_device_takes)
{
	unsigned int models;

	no_dmabufs = true;
	ok(pbv_models(context, &models, &err));
	ck_assert_uint_eq(models, 0);
	no_dmabufs = false;
	ok(pbv_models(context, &models, &err));
	ck_assert_uint_eq(models,
			  PBV_TAKES(PB_PINNED) | PBV_MAY_TAKE(PB_REVOCABLE) |
				  PBV_MAY_TAKE(PB_DYNAMIC) | PBV_MAY_PIN);
	own = true;
	ok(pbv_models(context, &models, &err));
	ck_assert_uint_eq(models,
			  PBV_TAKES(PB_PINNED) | PBV_TAKES(PB_REVOCABLE) |
				  PBV_MAY_TAKE(PB_DYNAMIC) | PBV_PINS);
	odp = true;
	own = false;
	ok(pbv_models(context, &models, &err));
	ck_assert_uint_eq(models,
			  PBV_TAKES(PB_PINNED) | PBV_TAKES(PB_REVOCABLE) | PBV_TAKES(PB_DYNAMIC) |
				  PBV_FOLLOWS);
}
END_TEST

START_TEST(states)
{
	struct pbv_mr *mr;

	/* Restoring the memory does not restore the region. */
	ok(reg(0, RW, 0, PAGE, 0));
	take_away(0, true);
	ck_assert_int_eq(pbv_mr_state(mr), PBV_REVOKED);
	ok(pbv_dereg(mr, &err));
	/* A region registered afterwards is live. */
	ok(reg(0, RW, 0, PAGE, 0));
	ck_assert_int_eq(pbv_mr_state(mr), PBV_LIVE);
	ok(pbv_dereg(mr, &err));
	/* Only peerbar's device reports revocations of another exporter's buffers. */
	foreign(0, PB_REVOCABLE);
	ok(reg(0, RW, 0, PAGE, 0));
	ck_assert_int_eq(pbv_mr_state(mr), PBV_UNKNOWN);
	own = true;
	ck_assert_int_eq(pbv_mr_state(mr), PBV_UNKNOWN);
	own_tells = true;
	ck_assert_int_eq(pbv_mr_state(mr), PBV_LIVE);
	own_revoked = pbv_mr_verbs(mr)->lkey;
	ck_assert_int_eq(pbv_mr_state(mr), PBV_REVOKED);
	ok(pbv_dereg(mr, &err));
	foreign(0, PB_PINNED);
	ok(reg(0, RW, 0, PAGE, 0));
	own = false;
	ck_assert_int_eq(pbv_mr_state(mr), PBV_LIVE);
	ok(pbv_dereg(mr, &err));
}
END_TEST

void add_region_tests(TCase *t)
{
	tcase_add_test(t, a_region);
	tcase_add_test(t, wrong_arguments);
	tcase_add_test(t, models_that_are_refused);
	tcase_add_test(t, a_moving_buffer_is_pinned_or_followed);
	tcase_add_test(t, every_errno_has_its_sentence);
	tcase_add_test(t, what_a_device_takes);
	tcase_add_test(t, states);
}
