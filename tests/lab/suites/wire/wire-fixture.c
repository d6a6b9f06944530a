// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The fixtures of the suite wire, see wire-fixture.h. */
#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lab.h"
#include "modules.h"
#include "wire-fixture.h"

#define HERE_IP	   "10.78.0.1"
#define THERE_IP   "10.78.0.2"
#define ROCE	   4791
#define RXE	   "rxew"
#define LAST_WRITE 0x0b /* of the opcodes of sends and writes */
#define PEERBAR	   "pbx"
#define DIRECT	   "/sys/module/peerbar_rdma/parameters/direct"

struct relay *relay;
static pid_t relay_pid;

/* ---- the invariant CRC, independent of the driver's ---- */

static uint32_t crc_byte(uint32_t crc, uint8_t byte)
{
	int bit;

	crc ^= byte;
	for (bit = 0; bit < 8; bit++)
		crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
	return crc;
}

uint32_t roce_icrc(const uint8_t *ip, size_t ip_size, const uint8_t *udp, size_t udp_size)
{
	bool v6 = ip[0] >> 4 == 6;
	uint32_t crc = ~0u;
	size_t i;

	for (i = 0; i < 8; i++)
		crc = crc_byte(crc, 0xff);
	for (i = 0; i < ip_size; i++) {
		bool varies = v6 ? i < 4 || i == 7 : i == 1 || i == 8 || i == 10 || i == 11;
		uint8_t byte = varies ? 0xff : ip[i];

		/* The version stays. */
		crc = crc_byte(crc, v6 && !i ? 0x6f : byte);
	}
	for (i = 0; i + 4 < udp_size; i++)
		crc = crc_byte(crc, i == 6 || i == 7 || i == 12 ? 0xff : udp[i]);
	return ~crc;
}

/* ---- the relay ---- */

static uint32_t random_next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* The UDP header of a packet of RoCE, or NULL. */
static const uint8_t *roce_udp(const uint8_t *frame, size_t size)
{
	const uint8_t *ip = frame + 14, *udp;

	if (size < 14 + 20 + 8 + 12)
		return NULL;
	if (frame[12] == 0x08 && frame[13] == 0x00 && ip[9] == IPPROTO_UDP)
		udp = ip + 20;
	else if (frame[12] == 0x86 && frame[13] == 0xdd && ip[6] == IPPROTO_UDP && size >= 14 + 60)
		udp = ip + 40;
	else
		return NULL;
	return (udp[2] << 8 | udp[3]) == ROCE ? udp : NULL;
}

/* Look at a packet of peerbar's. */
static void inspect(const uint8_t *frame, size_t size, const uint8_t *udp)
{
	const uint8_t *ip = frame + 14, *end = frame + size;
	size_t length = (size_t)(udp[4] << 8 | udp[5]);
	uint8_t opcode = udp[8] & 0x1f;
	uint32_t icrc;

	relay->packets++;
	if (length < 8 + 12 + 4 || udp + length > end || (length - 8) % 4) {
		relay->wrong++;
		return;
	}
	icrc = roce_icrc(ip, (size_t)(udp - ip), udp, length);
	if (memcmp(udp + length - 4, &icrc, 4))
		relay->wrong++;
	/* Sends, writes, and responses of reads. */
	if (opcode <= 0x0b || (opcode >= 0x0d && opcode <= 0x10))
		relay->payload += length - 8 - 12 - 4;
}

static int relay_socket(const char *name)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET,
				    .sll_protocol = htons(ETH_P_ALL),
				    .sll_ifindex = (int)if_nametoindex(name) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)), room = 8 << 20;

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		lab_die("no packet socket on %s: %s", name, strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	return fd;
}

struct frame {
	uint8_t data[9200];
	ssize_t size;
};

/* Whether a test asked for the loss of this packet. */
static bool is_to_drop(uint8_t opcode, uint32_t *state)
{
	if (!relay->drop_left || opcode != relay->drop_opcode ||
	    random_next(state) % 1000 >= relay->drop_loss)
		return false;
	relay->drop_left--;
	return true;
}

void ipv4_set_checksum(uint8_t *ip)
{
	uint32_t sum = 0;
	int i;

	ip[10] = 0;
	ip[11] = 0;
	for (i = 0; i < 20; i += 2)
		sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~(sum + (sum >> 16));
	ip[10] = (uint8_t)(sum >> 8);
	ip[11] = (uint8_t)sum;
}

/* What a congested router does with a packet whose sender permits it. */
static void mark(uint8_t *ip)
{
	bool v6 = ip[0] >> 4 == 6;
	uint8_t ecn = v6 ? 0x30 : 0x03;

	if (!(ip[1] & ecn))
		return;
	ip[1] |= ecn;
	if (!v6)
		ipv4_set_checksum(ip);
}

/* Forward one packet. @held: a packet that waits for the next one. */
static void forward(int from, int to, bool ours, uint32_t *state, struct frame *held)
{
	struct sockaddr_ll addr;
	socklen_t addr_size = sizeof(addr);
	static struct frame frame;
	const uint8_t *udp;
	bool again = false;

	frame.size = recvfrom(from, frame.data, sizeof(frame.data), MSG_DONTWAIT,
			      (struct sockaddr *)&addr, &addr_size);
	if (frame.size <= 0 || addr.sll_pkttype == PACKET_OUTGOING)
		return;
	udp = roce_udp(frame.data, (size_t)frame.size);
	if (udp && udp[8] <= LAST_WRITE)
		relay->sent++;
	if (relay->cut)
		return;
	if (udp) {
		if (random_next(state) % 1000 < relay->marked)
			mark(frame.data + 14);
		if (ours)
			inspect(frame.data, (size_t)frame.size, udp);
		if (is_to_drop(udp[8], state) || random_next(state) % 1000 < relay->loss) {
			relay->dropped++;
			return;
		}
		if (!held->size && random_next(state) % 1000 < relay->swapped) {
			*held = frame;
			return;
		}
		again = random_next(state) % 1000 < relay->twice;
	}
	if (send(to, frame.data, (size_t)frame.size, 0) < 0)
		return;
	if (again && send(to, frame.data, (size_t)frame.size, 0) < 0)
		return;
	if (held->size > 0 && send(to, held->data, (size_t)held->size, 0) < 0)
		return;
	held->size = 0;
}

static void run_relay(void)
{
	int fds[2] = { relay_socket("relay0"), relay_socket("relay1") }, i;
	struct pollfd p[2] = { { fds[0], POLLIN, 0 }, { fds[1], POLLIN, 0 } };
	static struct frame held[2];
	uint32_t state = 20261129;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		int n = poll(p, 2, 20);

		for (i = 0; i < 2; i++) {
			if (p[i].revents & POLLIN)
				forward(fds[i], fds[!i], !i || relay->both, &state, &held[i]);
			/* A held packet is not the last of all. */
			if (n || !held[i].size)
				continue;
			if (send(fds[!i], held[i].data, (size_t)held[i].size, 0) < 0)
				continue;
			held[i].size = 0;
		}
	}
}

/* ---- devices ---- */

__attribute__((format(printf, 1, 2))) static void in_shell(const char *format, ...)
{
	char command[600];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	if (system(command))
		lab_die("this failed: %s", command);
}

void wire_wait_for_device(const char *device, const char *part)
{
	char command[300];
	int i;

	snprintf(command, sizeof(command),
		 "grep -qi %s /sys/class/infiniband/%s/ports/1/gids/* && grep -q ACTIVE /sys/class/infiniband/%s/ports/1/state",
		 part, device, device);
	for (i = 0; i < 200; i++) {
		if (!system(command))
			return;
		usleep(50000);
	}
	lab_die("%s has no GID with %s, or no link", device, part);
}

void wire_wait_for_gid(void)
{
	wire_wait_for_device("pbw", "ffff:0a4e:0001");
}

/*
 * Make the stack segment trains and compute checksums, as for a NIC that cannot: the relay forwards
 * single packets, as they are.
 */
static void without_offloads(const char *name)
{
	struct ethtool_value off = { .cmd = ETHTOOL_STXCSUM };
	struct ifreq request = { .ifr_data = (void *)&off };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, SIOCETHTOOL, &request))
		lab_die("checksums of %s cannot be set: %s", name, strerror(errno));
	close(fd);
}

/* Create both devices and the link. */
static void wire_setup(void)
{
	if (relay)
		return;
	in_shell("modprobe -a veth ib_uverbs rdma_ucm rdma_rxe peerbar-rdma");
	in_shell(
		"ip netns add peer && ip link add wire0 mtu 4200 type veth peer name relay0 mtu 4200 && "
		"ip link add relay1 mtu 4200 type veth peer name wire1 mtu 4200");
	without_offloads("wire0");
	without_offloads("wire1");
	in_shell(
		"ip link set wire1 netns peer && "
		"sysctl -qw net.ipv6.conf.relay0.disable_ipv6=1 net.ipv6.conf.relay1.disable_ipv6=1 2>/dev/null; "
		"echo 0 >/proc/sys/net/ipv6/conf/wire0/accept_dad; "
		"ip addr add " HERE_IP "/24 dev wire0 && ip addr add fd78::1/64 dev wire0 nodad && "
		/* The relay's ends are of this host, and must not answer for its address. */
		"ip link set relay0 arp off && ip link set relay1 arp off && "
		"ip link set wire0 up && ip link set relay0 up && ip link set relay1 up && "
		"ip -n peer link set lo up && ip -n peer addr add " THERE_IP "/24 dev wire1 && "
		"ip -n peer addr add fd78::2/64 dev wire1 nodad && ip -n peer link set wire1 up");
	relay = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (relay == MAP_FAILED)
		lab_die("no memory");
	relay_pid = fork();
	if (!relay_pid)
		run_relay();
	if (access("/sys/class/infiniband/pbw", F_OK))
		in_shell("rdma link add pbw type peerbar netdev wire0");
	in_shell("ip netns exec peer rdma link add " RXE " type rxe netdev wire1");
	wire_wait_for_gid();
	wire_wait_for_device(RXE, "ffff:0a4e:0002");
}

static void wire_teardown(void)
{
	if (!relay)
		return;
	kill(relay_pid, SIGKILL);
	wait_for(relay_pid);
	munmap(relay, PAGE);
	relay = NULL;
	in_shell(
		"rdma link delete " RXE
		" && rdma link delete pbw && ip link delete wire0 && ip link delete relay1 && ip netns delete peer");
}

/* The other end is a device of this host, but its peers use the wire. */
static void both_setup(void)
{
	in_shell("echo 0 >" DIRECT " && rdma link delete " RXE
		 " && ip netns exec peer rdma link add " PEERBAR " type peerbar netdev wire1");
	wire_wait_for_device(PEERBAR, "ffff:0a4e:0002");
	relay->both = true;
}

static void both_teardown(void)
{
	relay->both = false;
	in_shell("echo 1 >" DIRECT " && rdma link delete " PEERBAR
		 " && ip netns exec peer rdma link add " RXE " type rxe netdev wire1");
}

TCase *wire_case(Suite *s, const char *name, double timeout, bool both)
{
	TCase *t = suite_case(s, name, timeout, NULL, NULL);

	tcase_add_unchecked_fixture(t, wire_setup, wire_teardown);
	/* Its teardown comes first. */
	if (both)
		tcase_add_unchecked_fixture(t, both_setup, both_teardown);
	return t;
}

/* ---- ends ---- */

static bool ecn;

void wire_use_ecn(void)
{
	ecn = true;
}

void wire_pair(enum ibv_qp_type type, bool reverse)
{
	uint64_t calls = type == IBV_QPT_RC || type == IBV_QPT_XRC_SEND ? FLUSH_CALLS : 0;
	struct end_options here = { .type = type, .device = "pbw", .calls = calls };
	struct end_options there = { .type = type,
				     .device = relay->both ? PEERBAR : RXE,
				     .calls = calls };

	if (type == IBV_QPT_XRC_SEND)
		(reverse ? &here : &there)->type = IBV_QPT_XRC_RECV;
	relay->loss = 0;
	relay->twice = 0;
	relay->swapped = 0;
	relay->cut = false;
	relay->drop_left = 0;
	relay->marked = 0;
	ecn = false;
	end_open(&pair.a, reverse ? &there : &here);
	end_open(&pair.b, reverse ? &here : &there);
	pair.a.access |= IBV_ACCESS_FLUSH_GLOBAL;
	pair.b.access |= IBV_ACCESS_FLUSH_GLOBAL;
	pair.at_a = mem_new(&pair.a, MEM, ALL_ACCESS | IBV_ACCESS_FLUSH_GLOBAL);
	pair.at_b = mem_new(&pair.b, MEM, ALL_ACCESS | IBV_ACCESS_FLUSH_GLOBAL);
}

void wire_use_ipv6(void)
{
	struct end *ends[2] = { &pair.a, &pair.b };
	struct ibv_gid_entry entries[64];
	ssize_t i, n;
	int e;

	for (e = 0; e < 2; e++) {
		n = ibv_query_gid_table(ends[e]->ctx, entries, 64, 0);
		for (i = 0; i < n && entries[i].gid.raw[0] != 0xfd; i++)
			;
		ck_assert_msg(i < n, "there is no GID of an IPv6 address");
		ends[e]->gid = entries[i].gid;
		ends[e]->gid_index = (int)entries[i].gid_index;
	}
}

static void to_rtr(struct end *end, const struct end *peer, enum ibv_mtu mtu)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_RTR,
				    .path_mtu = mtu,
				    .dest_qp_num = peer->qp->qp_num,
				    .rq_psn = peer->psn,
				    .max_dest_rd_atomic = 4,
				    .min_rnr_timer = 12 };
	int mask = IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN;

	attr.ah_attr = (struct ibv_ah_attr){
		.is_global = 1,
		.port_num = 1,
		.grh = { .dgid = peer->gid,
			 .hop_limit = 64,
			 .sgid_index = (uint8_t)end->gid_index,
			 .traffic_class = ecn ? 2 : 0 },
	};
	if (end->qp->qp_type != IBV_QPT_UC)
		mask |= IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
	ck_assert_int_eq(ibv_modify_qp(end->qp, &attr, mask), 0);
}

static void to_rts(struct end *end)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_RTS,
				    .sq_psn = end->psn,
				    .timeout = end->timeout,
				    .retry_cnt = end->retries,
				    .rnr_retry = end->rnr_retries,
				    .max_rd_atomic = 4 };
	int mask = IBV_QP_STATE | IBV_QP_SQ_PSN;

	if (end->qp->qp_type != IBV_QPT_UC && end->qp->qp_type != IBV_QPT_UD)
		mask |= IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
			IBV_QP_MAX_QP_RD_ATOMIC;
	ck_assert_int_eq(ibv_modify_qp(end->qp, &attr, mask), 0);
}

void wire_connect(enum ibv_mtu mtu, uint8_t timeout)
{
	struct end *ends[2] = { &pair.a, &pair.b };
	int i;

	if (pair.a.qp->qp_type == IBV_QPT_XRC_SEND)
		pair.a.remote_srqn = end_srqn(&pair.b);
	for (i = 0; i < 2; i++) {
		/* Eight times as long on the debug kernel. */
		ends[i]->timeout = timeout && lab_kernel_is("debug") ? timeout + 3 : timeout;
		/* PSNs that wrap soon. */
		ends[i]->psn = 0xffffff - 20 * (unsigned int)(i + 1);
		ck_assert_int_eq(end_to_init(ends[i]), 0);
	}
	for (i = 0; i < 2; i++) {
		if (ends[i]->qp->qp_type == IBV_QPT_UD)
			ck_assert_int_eq(end_to_rtr(ends[i], NULL), 0);
		else
			to_rtr(ends[i], ends[!i], mtu);
	}
	for (i = 0; i < 2; i++)
		to_rts(ends[i]);
}

void wire_close(void)
{
	pair_close(&pair);
	wire_is_clean();
}

void wire_is_clean(void)
{
	ck_assert_msg(!relay->wrong, "%lu of %lu packets have a wrong length or ICRC", relay->wrong,
		      relay->packets);
}

void wire_drop(uint8_t opcode, unsigned int per_mille, unsigned int times)
{
	relay->drop_opcode = opcode;
	relay->drop_loss = per_mille;
	relay->drop_left = times;
}

static unsigned long counter_of(const char *device, const char *name)
{
	unsigned long value;
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/infiniband/%s/ports/1/hw_counters/%s", device,
		 name);
	f = fopen(path, "re");
	ck_assert_msg(f, "%s: %s", path, strerror(errno));
	ck_assert_int_eq(fscanf(f, "%lu", &value), 1);
	fclose(f);
	return value;
}

unsigned long wire_counter(const char *name)
{
	return counter_of("pbw", name);
}

unsigned long wire_peer_counter(const char *name)
{
	return counter_of(PEERBAR, name);
}

/* ---- hostile packets ---- */

int hostile_socket(void)
{
	return relay_socket("relay0");
}

void hostile_send(int fd, const void *data, size_t size)
{
	ck_assert_int_eq(send(fd, data, size, 0), (ssize_t)size);
}
