// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The third part of the demonstration: a BAR is a memory region, which another process writes with
 * RDMA, until the buffer is revoked. A buffer that moves is another, which follows, or is pinned.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/peerbar.h>

#include "demo.h"
#include "rdma-end.h"
#include "testmod.h"

#define OFFSET (64 * MIB) /* of the exported range in the BAR */
#define SIZE   (2 * MIB)
#define LEN    3000
#define MOVING (16 * PAGE) /* size of the buffer that moves */

struct moving {
	int exporter;
	int fd;
};

/* For a function of testmod.h. */
static void must_test(int ret)
{
	if (ret < 0)
		lab_die("the test module: %s", strerror(-ret));
}

/* What the writer shall do: write the pattern of @seed to @rkey, or connect again. */
struct request {
	uint32_t seed;
	uint32_t rkey;
	bool reconnect;
};

/* Write a pattern on each request, with a queue pair and memory of its own. */
static void writer_main(int sock)
{
	enum ibv_wc_status status;
	struct request request;
	struct address peer;
	struct ibv_mr *mr;
	struct end end;

	end_open(&end, "pb0");
	mr = source_open(&end, PAGE);
	connect_writer(&end, sock, &peer);
	while (read(sock, &request, sizeof(request)) == sizeof(request)) {
		status = IBV_WC_SUCCESS;
		lab_pattern(mr->addr, LEN, request.seed);
		if (request.reconnect)
			end_reconnect(&end, &peer);
		else
			status = write_to(&end, mr, LEN, 0, request.rkey);
		whole(write(sock, &status, sizeof(status)), sizeof(status));
	}
	source_close(mr);
	end_close(&end);
}

static enum ibv_wc_status writer_does(int sock, const struct request *request)
{
	enum ibv_wc_status status;

	whole(write(sock, request, sizeof(*request)), sizeof(*request));
	whole(read(sock, &status, sizeof(status)), sizeof(status));
	return status;
}

static enum ibv_wc_status writer_writes(int sock, uint32_t seed, const struct ibv_mr *mr)
{
	const struct request request = { .seed = seed, .rkey = mr->rkey };

	return writer_does(sock, &request);
}

static void link_up(void)
{
	char command[600];

	snprintf(command, sizeof(command),
		 "set -e; modprobe -a e1000e ib_uverbs peerbar-rdma peerbar-test-exporter; nic=$(ls /sys/bus/pci/devices/%s/net); "
		 "ip address add " OWNER_IP "/24 dev $nic; ip link set $nic up; "
		 "for n in $(seq 100); do [ \"$(cat /sys/class/net/$nic/carrier)\" = 1 ] && break; sleep 0.1; done; "
		 "rdma link add pb0 type peerbar netdev $nic; rdma link | sed 's/^/        /'",
		 lab_bdf(LAB_NIC));
	if (system(command))
		lab_die("there is no RDMA device");
}

/* Write the pattern of @seed by RDMA, and show what is in a place of the buffer. */
static bool written_to(int sock, uint32_t seed, const struct ibv_mr *mr, const struct moving *m,
		       enum peerbar_test_place place, const char *title)
{
	uint8_t pattern[LEN], seen[LEN];
	enum ibv_wc_status status = writer_writes(sock, seed, mr);

	lab_pattern(pattern, LEN, seed);
	must_test(test_read(m->exporter, m->fd, place, 0, seen, LEN));
	show("the writer's pattern", pattern);
	show(title, seen);
	return !status && !memcmp(seen, pattern, LEN);
}

/* A buffer of the test module, which has two places in memory and moves between them. */
static void demo_moving(struct end *end, int sock)
{
	const int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
	uint8_t old[LEN], poison[LEN];
	struct moving m = { .exporter = test_exporter_open() };
	struct ibv_mr *mr;
	int ret;

	step("A buffer that moves is registered on demand: the region follows it");
	m.fd = test_export_one(m.exporter, PEERBAR_TEST_SOURCE_CORE, PEERBAR_MODEL_DYNAMIC, MOVING);
	mr = ibv_reg_dmabuf_mr(end->pd, 0, MOVING, 0, m.fd, access | IBV_ACCESS_ON_DEMAND);
	check(mr, "it is registered (IBV_ACCESS_ON_DEMAND)");
	verbs(mr, "ibv_reg_dmabuf_mr()");
	check(written_to(sock, 31, mr, &m, PEERBAR_TEST_PLACE_A, "its first place"),
	      "an RDMA write arrives in its first place");
	must_test(test_move(m.exporter, m.fd, PEERBAR_TEST_PLACE_B));
	check(written_to(sock, 32, mr, &m, PEERBAR_TEST_PLACE_B, "its second place"),
	      "it moved, and the next write arrives in its second place");
	must_test(test_read(m.exporter, m.fd, PEERBAR_TEST_PLACE_A, 0, old, LEN));
	memset(poison, PEERBAR_TEST_POISON, LEN);
	show("its first place", old);
	check(!memcmp(old, poison, LEN), "no byte of it is in the place that it left");
	ibv_dereg_mr(mr);

	step("The same buffer, registered as most NICs do: pinned");
	mr = ibv_reg_dmabuf_mr(end->pd, 0, MOVING, 0, m.fd, access);
	check(mr, "it is registered, where it is");
	verbs(mr, "ibv_reg_dmabuf_mr()");
	ret = test_move(m.exporter, m.fd, PEERBAR_TEST_PLACE_A);
	printf("        moving it: %s\n", strerror(-ret));
	check(ret == -EBUSY, "it cannot move while the region exists (EBUSY)");
	check(written_to(sock, 33, mr, &m, PEERBAR_TEST_PLACE_B, "its second place"),
	      "an RDMA write arrives where it is");
	ibv_dereg_mr(mr);
	ret = test_move(m.exporter, m.fd, PEERBAR_TEST_PLACE_A);
	check(ret == PEERBAR_TEST_PLACE_A, "deregistered, it moves");
	close(m.fd);
	close(m.exporter);
}

void demo_rdma(void)
{
	uint8_t pattern[LEN], before[LEN], after[LEN];
	enum ibv_wc_status status;
	struct target target;
	struct address peer;
	struct ibv_mr *none;
	pid_t writer;
	int sock;

	step("An RDMA device in software, with the DMA identity of a NIC");
	link_up();
	writer = writer_start(writer_main, &sock);
	target_open(&target, OFFSET, SIZE);
	check(target.mr, "2 MiB of the BAR are registered as a memory region (ibv_reg_dmabuf_mr)");
	verbs(target.mr, "ibv_reg_dmabuf_mr()");
	connect_owner(&target.end, sock, target.mr->rkey, &peer);

	step("Another process writes to the BAR with RDMA");
	lab_pattern(pattern, LEN, 21);
	status = writer_writes(sock, 21, target.mr);
	printf("        RDMA write of %d bytes: %s\n", LEN, ibv_wc_status_str(status));
	lab_host_read(OFFSET, after, LEN);
	show("the writer's pattern", pattern);
	show("the host's backing file", after);
	check(!status && !memcmp(after, pattern, LEN), "the host sees its bytes in the BAR");

	step("The owner revokes the buffer permanently, with the region still registered");
	lab_host_read(OFFSET, before, LEN);
	must(pb_buffer_revoke(target.gpu, target.buffer, &err));
	status = writer_writes(sock, 22, target.mr);
	printf("        the same RDMA write: %s\n", ibv_wc_status_str(status));
	lab_host_read(OFFSET, after, LEN);
	check(status == IBV_WC_REM_ACCESS_ERR && !memcmp(before, after, LEN),
	      "it completes with an error, and no byte of the BAR changed");
	none = ibv_reg_dmabuf_mr(target.end.pd, 0, SIZE, 0, pb_buffer_fd(target.buffer),
				 IBV_ACCESS_LOCAL_WRITE);
	check(!none, "it cannot be registered again");

	writer_does(sock, &(struct request){ .reconnect = true });
	end_reconnect(&target.end, &peer);
	demo_moving(&target.end, sock);
	check(writer_end(writer, sock), "the writer ended by itself");
	target_close(&target);
}
