// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Events of revocations; exporters and NICs that go. */
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hotplug.h"
#include "modules.h"
#include "revoke-fixture.h"
#include "testmod.h"

/* ---- notification ---- */

struct told {
	void *library;
	int (*fd)(struct ibv_context *ctx);
	int (*next)(struct ibv_context *ctx, uint32_t *lkey);
};

static void told_up(struct told *told)
{
	/* The library that libibverbs has loaded for the device. */
	told->library = dlopen("libpeerbar-rdma.so.1", RTLD_NOW);
	ck_assert_msg(told->library, "%s", dlerror());
	told->fd = (int (*)(struct ibv_context *))(uintptr_t)dlsym(told->library,
								   "peerbardv_revocation_fd");
	told->next = (int (*)(struct ibv_context *, uint32_t *))(
		uintptr_t)dlsym(told->library, "peerbardv_next_revoked");
	ck_assert(told->fd && told->next);
}

static bool readable(int fd, int milliseconds)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, milliseconds) == 1;
}

START_TEST(told_of_revocation)
{
	struct place place, beside;
	struct ibv_mr *more[5];
	bool seen[6] = { false };
	struct told told;
	uint32_t lkey;
	int fd, i, k;

	told_up(&told);
	fd = told.fd(pair.b.ctx);
	ck_assert_int_ge(fd, 0);
	place_make(&place, BAR, SIZE, 0);
	place_make(&beside, BAR, SIZE, 1);
	place_register(&place, &pair.b, ALL_ACCESS);
	place_register(&beside, &pair.b, ALL_ACCESS);
	for (i = 0; i < 5; i++)
		ck_assert_int_eq(part_register(&place, &pair.b, 0, PAGE, 0, ALL_ACCESS, &more[i]),
				 0);
	ck_assert(!readable(fd, 0));
	ck_assert_int_eq(told.next(pair.b.ctx, &lkey), 0);
	take_away(&place, KILL);
	/* All its regions, and no others, are reported before the revoke returns. */
	ck_assert(readable(fd, 0));
	for (i = 0; i < 6; i++) {
		ck_assert_int_eq(told.next(pair.b.ctx, &lkey), 1);
		for (k = 0; k < 6; k++) {
			if (lkey == (k < 5 ? more[k]->lkey : place.mem.mr->lkey)) {
				ck_assert(!seen[k]);
				seen[k] = true;
				break;
			}
		}
		ck_assert_msg(k < 6, "a region was told of that was not revoked");
	}
	ck_assert_int_eq(told.next(pair.b.ctx, &lkey), 0);
	ck_assert(!readable(fd, 0));
	/* The other context has no report. */
	ck_assert(!readable(told.fd(pair.a.ctx), 0));
	ck_assert_int_eq(told.next(pair.a.ctx, &lkey), 0);
	/* Deregistering is not reported. */
	for (i = 0; i < 5; i++)
		ck_assert_int_eq(ibv_dereg_mr(more[i]), 0);
	ck_assert(!readable(fd, 0));
	take_away(&beside, DECODING);
	ck_assert(readable(fd, 0));
	ck_assert_int_eq(told.next(pair.b.ctx, &lkey), 1);
	ck_assert_uint_eq(lkey, beside.mem.mr->lkey);
	ck_assert_int_eq(told.next(pair.b.ctx, &lkey), 0);
	/* Only once. */
	give_back(DECODING);
	take_away(&beside, DECODING);
	give_back(DECODING);
	ck_assert(!readable(fd, 0));
	place_close(&place);
	place_close(&beside);
	dlclose(told.library);
}
END_TEST

/* If the queue overflows, the loss is reported. */
START_TEST(told_of_too_many)
{
	static struct ibv_mr *mrs[600]; /* the queue holds 512 */
	struct place place;
	struct told told;
	uint32_t lkey;
	int n, ret = 0, lost = 0;

	told_up(&told);
	ck_assert_int_ge(told.fd(pair.b.ctx), 0);
	place_make(&place, BAR, SIZE, 0);
	for (n = 0; n < 600; n++)
		ck_assert_int_eq(part_register(&place, &pair.b, 0, PAGE, 0, ALL_ACCESS, &mrs[n]),
				 0);
	take_away(&place, KILL);
	for (n = 0; n < 1000; n++) {
		ret = told.next(pair.b.ctx, &lkey);
		if (!ret)
			break;
		lost += ret == -EOVERFLOW;
	}
	ck_assert_int_eq(ret, 0);
	ck_assert_msg(lost == 1, "%d keys, lost told %d times", n, lost);
	for (n = 0; n < 600; n++)
		ck_assert_int_eq(ibv_dereg_mr(mrs[n]), 0);
	place_close(&place);
	dlclose(told.library);
}
END_TEST

/* ---- exporters and NICs that go ---- */

/* The exporting process is killed: its device is closed, and the memory gone. */
START_TEST(exporter_killed)
{
	struct pb_range range = { AT(1), SIZE };
	int sockets[2], child, fd, i;
	struct place place = {
		.kind = BAR, .fd = -1, .exporter = -1, .nr_ranges = 1, .mem.size = SIZE
	};
	struct ibv_send_wr wr;
	struct ibv_sge s;
	struct ibv_wc wc;

	/* Close the fixture's GPU, for the child. */
	places_down();
	pb_device_close(fixture.gpu);
	fixture.gpu = NULL;
	ck_assert_int_eq(socketpair_cloexec(sockets), 0);
	child = fork();
	if (!child) {
		struct pb_buffer *buffer;
		struct pb_device *device;
		struct pb_iommu *own;

		ok(pb_iommu_open(&own, &err));
		device = lab_open(own, LAB_GPU);
		ok(pb_device_set_decoding(device, true, &err));
		ok(pb_buffer_export(device, GPU_BAR, &range, 1, 0, &buffer, &err));
		send_fd(sockets[1], pb_buffer_fd(buffer));
		pause();
		_exit(0);
	}
	fd = receive_fd(sockets[0]);
	place.fd = fd;
	place.ranges[0] = range;
	place_register(&place, &pair.b, ALL_ACCESS);
	works(&place, 1);
	s = sge(&host.mem, 0, SIZE);
	for (i = 0; i < 100000; i++) {
		if (i == 20)
			kill(child, SIGKILL);
		wr = work(1, IBV_WR_RDMA_WRITE, &s, 1, &place.mem, 0);
		ck_assert_int_eq(post(&pair.a, &wr), 0);
		wc = completion(&pair.a);
		if (wc.status != IBV_WC_SUCCESS)
			break;
	}
	ck_assert_msg(wc.status == IBV_WC_REM_ACCESS_ERR, "'%s'", ibv_wc_status_str(wc.status));
	in_error(&pair.a);
	replace_qps(&pair.a, &pair.b);
	ck_assert_int_eq(wait_for(child), 128 + SIGKILL);
	state_is(fd, PEERBAR_STATE_DEAD);
	place_close(&place);
	close(sockets[0]);
	close(sockets[1]);
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	places_up();
}
END_TEST

#define PLUGGED (16 * MIB)

START_TEST(exporter_unplugged)
{
	struct pb_range range = { MIB, SIZE };
	struct mem region = { .addr = 0, .size = SIZE };
	struct ibv_sge s = sge(&host.mem, 0, SIZE);
	struct pb_device *plugged;
	struct pb_buffer *buffer;
	struct ibv_send_wr wr;
	char bdf[PB_BDF_LEN];
	uint64_t until;
	struct ibv_wc wc;

	gpu_plug(bdf, PLUGGED);
	ok(pb_pci_bind(bdf, lab_driver(), &err));
	ok(pb_device_open(fixture.iommu, bdf, &plugged, &err));
	ok(pb_device_set_decoding(plugged, true, &err));
	ok(pb_buffer_export(plugged, GPU_BAR, &range, 1, 0, &buffer, &err));
	region.mr = ibv_reg_dmabuf_mr(pair.b.pd, 0, SIZE, 0, pb_buffer_fd(buffer), ALL_ACCESS);
	ck_assert_msg(region.mr, "%s", strerror(errno));
	wr = work(1, IBV_WR_RDMA_WRITE, &s, 1, &region, 0);
	done(&pair.a, &wr);
	gpu_pull();
	/* Write to it until it is gone. */
	until = now_ms() + 60000;
	do {
		ck_assert_int_eq(post(&pair.a, &wr), 0);
		wc = completion(&pair.a);
		usleep(10000);
	} while (wc.status == IBV_WC_SUCCESS && now_ms() < until);
	ck_assert_msg(wc.status == IBV_WC_REM_ACCESS_ERR, "'%s'", ibv_wc_status_str(wc.status));
	state_is(pb_buffer_fd(buffer), PEERBAR_STATE_DEAD);
	replace_qps(&pair.a, &pair.b);
	pb_device_close(plugged);
	/* The region must not delay the removal. */
	gpu_wait(bdf, PLUGGED, false);
	fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
	replace_qps(&pair.a, &pair.b);
	ck_assert_int_eq(ibv_dereg_mr(region.mr), 0);
	pb_buffer_close(buffer);
	gpu_forget_memory(PLUGGED);
}
END_TEST

/* The NIC below a second device is pulled: users of that device get an event, and no call hangs. */
START_TEST(nic_unplugged)
{
	struct end_options on_second = { .device = "pb1" };
	struct place place, own;
	struct ibv_send_wr wr;
	struct ibv_sge s;
	struct end x, y;
	struct ibv_mr *mr;
	uint64_t until;
	int i;

	if (lab_has_no_reset()) /* the topology without ports */
		return;
	ck_assert_int_eq(rdma_link_add("pb1", 1), 0);
	for (i = 0;
	     i < 100 && system("grep -qi ffff:0a4d:0101 /sys/class/infiniband/pb1/ports/1/gids/*");
	     i++)
		usleep(100000);
	end_open(&x, NULL);
	end_open(&y, &on_second);
	ends_connect(&x, &y);
	place_make(&place, BAR, SIZE, 1);
	place_register(&place, &y, ALL_ACCESS);
	place_make(&own, HOST, SIZE, 0);
	place_register(&own, &x, ALL_ACCESS);
	ck_assert_uint_eq(importers(place.fd), 1);
	s = sge(&own.mem, 0, SIZE);
	wr = work(1, IBV_WR_RDMA_WRITE, &s, 1, &place.mem, 0);
	done(&x, &wr);
	nic_pull(nic_bdf(1));
	event_comes(&y, IBV_EVENT_DEVICE_FATAL);
	/* The device's attachment must be gone, although its user's process still exists. */
	until = now_ms() + 10000;
	while (importers(place.fd) && now_ms() < until)
		usleep(10000);
	ck_assert_uint_eq(importers(place.fd), 0);
	rdma_device_goes("pb1");
	/* The device does not respond to its peer. */
	wr.wr_id = 2;
	fails(&x, &wr, IBV_WC_RETRY_EXC_ERR);
	/* Calls fail, and return. */
	mr = ibv_reg_mr(y.pd, host.mem.p, SIZE, ALL_ACCESS);
	ck_assert_ptr_null(mr);
	end_leave(&y, place.mem.mr);
	place.mem.mr = NULL;
	/* The buffer is not affected for other importers. */
	place_register(&place, &pair.b, ALL_ACCESS);
	works(&place, 1);
	place_close(&place);
	place_close(&own);
	end_close(&x);
	nic_plug(nic_bdf(1));
	rdma_nic_up(1);
}
END_TEST

/* ---- test cases ---- */

LAB_SUITE_PART("rdma-revoke")
{
	TCase *t = rdma_case(s, "ours", 300, revoke_up, revoke_down);

	tcase_add_test(t, told_of_revocation);
	tcase_add_test(t, told_of_too_many);
	tcase_add_test(t, exporter_killed);
	tcase_add_test(t, exporter_unplugged);
	tcase_add_test(t, nic_unplugged);
}
