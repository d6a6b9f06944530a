// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The last part of the demonstration: another host, with the kernel's own Soft-RoCE (rxe), writes to
 * the BAR over a link that loses packets, until the buffer is revoked. That host is a network
 * namespace with the second NIC, which is on the same network as the first one.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "demo.h"
#include "rdma-end.h"

#define OFFSET (72 * MIB) /* of the exported range in the BAR */
#define SIZE   (128 * KIB)
#define AGAIN  (32 * KIB) /* bytes of each write that follows */
#define NETNS  "host-b"

/* Give host B the second NIC and rxe0, and let both directions of the link lose packets if @lossy. */
static void host_up(bool lossy)
{
	static const char script[] =
		"set -e; modprobe rdma_rxe; "
		"set -- $(for nic in /sys/class/net/*; do [ \"$(cat $nic/device/device 2>/dev/null)\" != 0x10d3 ] || basename $nic; done); "
		"here=$(ls /sys/class/infiniband/pb0/device/net); there=$1; [ $1 != $here ] || there=$2; "
		"here_mac=$(cat /sys/class/net/$here/address); there_mac=$(cat /sys/class/net/$there/address); "
		"ip netns add " NETNS "; ip link set $there netns " NETNS "; "
		"ip -n " NETNS " link set lo up; ip -n " NETNS
		" address add 10.9.8.2/24 dev $there; ip -n " NETNS " link set $there up; "
		"for n in $(seq 100); do ip -n " NETNS
		" link show $there | grep -q LOWER_UP && break; sleep 0.1; done; "
		"ip -n " NETNS " neigh replace " OWNER_IP " lladdr $here_mac dev $there; "
		"ip neigh replace 10.9.8.2 lladdr $there_mac dev $here; "
		"ip netns exec " NETNS " rdma link add rxe0 type rxe netdev $there; "
		"if [ $LOSSY = 1 ]; then tc qdisc add dev $here root netem loss 5%; tc -n " NETNS
		" qdisc add dev $there root netem loss 5%; fi; "
		"for n in $(seq 100); do grep -qi ffff:0a09:0802 /sys/class/infiniband/rxe0/ports/1/gids/* && break; sleep 0.1; done; "
		"rdma link show rxe0/1 | sed 's/^/        /'";

	if (setenv("LOSSY", lossy ? "1" : "0", 1) || system(script))
		lab_die("there is no second host");
}

static void host_down(void)
{
	if (system("rdma link delete rxe0; ip netns delete " NETNS
		   "; tc qdisc delete dev $(ls /sys/class/infiniband/pb0/device/net) root 2>/dev/null; "
		   "ip neigh flush to 10.9.8.2 nud permanent; exit 0"))
		printf("        the second host is not removed\n");
}

/* Count the packets that the link has lost. */
static unsigned int lost(void)
{
	FILE *f = popen("{ tc -s qdisc; tc -s -n " NETNS
			" qdisc; } | sed -n '/netem/,/dropped/s/.*dropped \\([0-9]*\\),.*/\\1/p'",
			"re");
	unsigned int n, sum = 0;

	if (!f)
		lab_die("no shell: %s", strerror(errno));
	while (fscanf(f, "%u", &n) == 1)
		sum += n;
	pclose(f);
	return sum;
}

/* On host B: write SIZE bytes of a pattern, and on request one pattern after the other until that fails. */
static void host_main(int sock)
{
	int netns = open("/run/netns/" NETNS, O_RDONLY | O_CLOEXEC);
	enum ibv_wc_status status;
	struct address peer;
	uint32_t seed = 42;
	struct ibv_mr *mr;
	struct end end;
	char byte;

	if (netns < 0 || setns(netns, CLONE_NEWNET))
		lab_die("no network namespace: %s", strerror(errno));
	close(netns);
	end_open(&end, "rxe0");
	mr = source_open(&end, SIZE);
	connect_writer(&end, sock, &peer);
	lab_pattern(mr->addr, SIZE, 41);
	status = write_to(&end, mr, SIZE, 0, peer.rkey);
	whole(write(sock, &status, sizeof(status)), sizeof(status));
	whole(read(sock, &byte, 1), 1);
	do {
		lab_pattern(mr->addr, AGAIN, seed++);
		status = write_to(&end, mr, AGAIN, 0, peer.rkey);
	} while (!status);
	whole(write(sock, &status, sizeof(status)), sizeof(status));
	source_close(mr);
	end_close(&end);
}

void demo_hosts(void)
{
	static uint8_t pattern[SIZE], seen[SIZE], after[AGAIN];
	enum ibv_wc_status status;
	struct target target;
	struct pollfd answer = { .events = POLLIN };
	unsigned int packets;
	struct address peer;
	bool lossy, arrived;
	pid_t host;
	int sock;

	/* The debug kernel has no netem. */
	lossy = !system("modprobe sch_netem 2>/dev/null");
	step(lossy ? "Another host, with the kernel's own Soft-RoCE, over a link that loses 5% of all packets" :
		     "Another host, with the kernel's own Soft-RoCE, over a link that loses nothing, for want of netem");
	host_up(lossy);
	host = writer_start(host_main, &sock);
	answer.fd = sock;
	target_open(&target, OFFSET, SIZE);
	verbs(target.mr, "ibv_reg_dmabuf_mr()");
	connect_owner(&target.end, sock, target.mr->rkey, &peer);
	whole(read(sock, &status, sizeof(status)), sizeof(status));
	packets = lost();
	printf("        RDMA write of 128 KiB: %s; lost on the way: %u packets\n",
	       ibv_wc_status_str(status), packets);
	lab_pattern(pattern, SIZE, 41);
	lab_host_read(OFFSET, seen, SIZE);
	show("the other host's pattern", pattern);
	show("the host's backing file", seen);
	check(!status && !memcmp(seen, pattern, SIZE), "all of its bytes are in the BAR");
	if (lossy)
		check(packets, "packets were lost, and sent again");

	step("The owner revokes the buffer while the other host writes on");
	whole(write(sock, "", 1), 1);
	/* Until a write arrives, or none can: then the writer says why. */
	do {
		lab_host_read(OFFSET, seen, AGAIN);
		arrived = memcmp(seen, pattern, AGAIN);
	} while (!arrived && !poll(&answer, 1, 10));
	must(pb_buffer_revoke(target.gpu, target.buffer, &err));
	lab_host_read(OFFSET, seen, AGAIN);
	whole(read(sock, &status, sizeof(status)), sizeof(status));
	lab_host_read(OFFSET, after, AGAIN);
	printf("        its RDMA write: %s\n", ibv_wc_status_str(status));
	check(arrived && status && !memcmp(seen, after, AGAIN),
	      "it fails, and no byte of the BAR changed after the revoke");

	check(writer_end(host, sock), "the other host's writer ended by itself");
	target_close(&target);
	host_down();
}
