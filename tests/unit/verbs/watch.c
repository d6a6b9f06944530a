// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Watches of revocations, by the module and by the device. */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../../sentence.h"
#include "mock.h"

START_TEST(nobody_would_tell)
{
	struct pbv_watch *watch;
	struct pbv_mr *mr;

	refused(pbv_watch_open(context, &watch, &err), EOPNOTSUPP, "nothing would report");
	events_errno = EACCES;
	refused(pbv_watch_open(context, &watch, &err), EACCES, "no watch");
	events_errno = 0;
	events_fd = eventfd(0, EFD_CLOEXEC);
	ok(pbv_watch_open(context, &watch, &err));
	foreign(0, PB_REVOCABLE);
	ok(reg(0, RW, 0, PAGE, 0));
	refused(pbv_watch_add(watch, mr, &err), EOPNOTSUPP, "nothing would report");
	ok(pbv_dereg(mr, &err));
	pbv_watch_close(watch);
	close(events_fd);
	pbv_watch_close(NULL);
}
END_TEST

static bool readable(struct pbv_watch *watch)
{
	struct epoll_event event;

	return epoll_wait(pbv_watch_fd(watch), &event, 1, 0) == 1;
}

static void is_next(struct pbv_watch *watch, struct pbv_mr *want)
{
	struct pbv_mr *mr = NULL;

	ok(pbv_next_revoked(watch, &mr, &err));
	ck_assert_ptr_eq(mr, want);
}

START_TEST(what_the_module_tells)
{
	struct pbv_mr *mr, *second, *other;
	struct pbv_watch *watch;

	events_errno = 0;
	events_fd = eventfd(0, EFD_CLOEXEC);
	ok(pbv_watch_open(context, &watch, &err));
	ok(reg(0, RW, 0, PAGE, 0));
	ok(pbv_reg_buffer(the_pd, buffer, PAGE, PAGE, 0, RW, 0, &second, &err));
	ok(pbv_reg_buffer(the_pd, &buffers[1], 0, PAGE, 0, RW, 0, &other, &err));
	ok(pbv_watch_add(watch, mr, &err));
	ok(pbv_watch_add(watch, second, &err));
	ok(pbv_watch_add(watch, other, &err));
	refused(pbv_watch_add(watch, other, &err), EBUSY, "twice");
	is_next(watch, NULL);
	/* Both regions of the buffer are reported once, and no region of the other. */
	take_away(0, true);
	events[nr_events++] = (struct pb_event){ .type = PB_EVENT_REVOKED, .buffer.id = 10 };
	is_next(watch, mr);
	ck_assert(readable(watch));
	is_next(watch, second);
	ck_assert(!readable(watch));
	events[nr_events++] = (struct pb_event){ .type = PB_EVENT_REVOKED, .buffer.id = 10 };
	is_next(watch, NULL);
	ck_assert_int_eq(pbv_mr_state(mr), PBV_REVOKED);
	/* Ignore an event from before the registration. */
	ok(pbv_dereg(second, &err));
	ok(pbv_reg_buffer(the_pd, buffer, PAGE, PAGE, 0, RW, 0, &second, &err));
	ok(pbv_watch_add(watch, second, &err));
	events[nr_events++] = (struct pb_event){ .type = PB_EVENT_REVOKED, .buffer.id = 10 };
	is_next(watch, NULL);
	/* Recover from lost events. */
	take_away(1, false);
	events[nr_events++] = (struct pb_event){ .type = PB_EVENT_LOST };
	is_next(watch, other);
	is_next(watch, NULL);
	/* A deregistered region is not reported. */
	take_away(0, false);
	ok(pbv_dereg(mr, &err));
	ck_assert_int_eq(pbv_mr_state(second), PBV_REVOKED);
	events[nr_events++] = (struct pb_event){ .type = PB_EVENT_REVOKED, .buffer.id = 10 };
	ok(pbv_dereg(second, &err));
	is_next(watch, NULL);
	ck_assert(!readable(watch));
	/* A region outlives its watch. */
	pbv_watch_close(watch);
	ok(pbv_dereg(other, &err));
	close(events_fd);
}
END_TEST

START_TEST(told_at_once_of_what_happened_before)
{
	struct pbv_watch *watch;
	struct pbv_mr *mr;

	events_errno = 0;
	events_fd = eventfd(0, EFD_CLOEXEC);
	ok(pbv_watch_open(context, &watch, &err));
	ok(reg(0, RW, 0, PAGE, 0));
	take_away(0, true);
	ok(pbv_watch_add(watch, mr, &err));
	ck_assert(readable(watch));
	is_next(watch, mr);
	is_next(watch, NULL);
	/* A region that cannot be deregistered stays watched. */
	dereg_errno = EBUSY;
	refused(pbv_dereg(mr, &err), EBUSY, "window");
	refused(pbv_watch_add(watch, mr, &err), EBUSY, "twice");
	dereg_errno = 0;
	ok(pbv_dereg(mr, &err));
	pbv_watch_close(watch);
	close(events_fd);
}
END_TEST

START_TEST(what_our_device_tells)
{
	struct pbv_mr *mr, *pinned;
	struct ibv_context elsewhere = { .device = &device };
	struct pbv_watch *watch;

	own = true;
	own_fd = eventfd(0, EFD_CLOEXEC);
	ok(pbv_watch_open(context, &watch, &err));
	foreign(0, PB_REVOCABLE);
	foreign(1, PB_PINNED);
	ok(reg(0, RW, 0, PAGE, 0));
	ok(pbv_reg_buffer(the_pd, &buffers[1], 0, PAGE, 0, RW, 0, &pinned, &err));
	ok(pbv_watch_add(watch, mr, &err));
	ok(pbv_watch_add(watch, pinned, &err));
	/* Unknown keys are skipped. */
	own_keys[nr_own_keys++] = pbv_mr_verbs(mr)->lkey;
	own_keys[nr_own_keys++] = 0xdead;
	ck_assert_int_eq(eventfd_write(own_fd, 1), 0);
	ck_assert(readable(watch));
	is_next(watch, mr);
	is_next(watch, NULL);
	ck_assert_int_eq(pbv_mr_state(mr), PBV_REVOKED);
	own_error = -EIO;
	refused(pbv_next_revoked(watch, &mr, &err), EIO, "mock0");
	/*
	 * If a region is deregistered while its key is queued, the key's next region is not
	 * reported.
	 */
	ok(pbv_dereg(mr, &err));
	ok(reg(0, RW, 0, PAGE, 0));
	ok(pbv_watch_add(watch, mr, &err));
	own_keys[nr_own_keys++] = next_key = pbv_mr_verbs(mr)->lkey;
	ok(pbv_dereg(mr, &err));
	ok(reg(0, RW, 0, PAGE, 0));
	ok(pbv_watch_add(watch, mr, &err));
	ck_assert_uint_eq(nr_own_keys, 0);
	is_next(watch, NULL);
	/*
	 * It is unknown which keys were lost. Report the region as UNKNOWN, but not the pinned one.
	 */
	own_error = -EOVERFLOW;
	is_next(watch, mr);
	is_next(watch, NULL);
	ck_assert_int_eq(pbv_mr_state(mr), PBV_UNKNOWN);
	ok(pbv_dereg(mr, &err));
	mr = pinned;
	pd.context = &elsewhere;
	ok(pbv_reg_buffer(the_pd, &buffers[1], 0, PAGE, 0, RW, 0, &pinned, &err));
	refused(pbv_watch_add(watch, pinned, &err), EXDEV, "another context");
	ok(pbv_dereg(pinned, &err));
	ok(pbv_dereg(mr, &err));
	pbv_watch_close(watch);
	close(own_fd);
}
END_TEST

void add_watch_tests(TCase *t)
{
	tcase_add_test(t, nobody_would_tell);
	tcase_add_test(t, what_the_module_tells);
	tcase_add_test(t, told_at_once_of_what_happened_before);
	tcase_add_test(t, what_our_device_tells);
}
