/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The fixtures of the suite wire: a peerbar device in this network namespace, and the kernel's rxe
 * or another peerbar device in another one, for another host. Between the two is a link that a
 * process forwards, packet by packet:
 *
 *	pbw on wire0 -- relay0 | the relay | relay1 -- wire1 with rxew or pbx, in namespace "peer"
 *
 * So the link can lose, repeat, reorder and hold packets by a seed, on a kernel without netem, and
 * the relay sees and can check each packet.
 */
#ifndef WIRE_FIXTURE_H
#define WIRE_FIXTURE_H

#include "verbs.h"

#define MEM (512 * KIB) /* of each end */

/* What the relay does, and what it has seen; shared with it. */
struct relay {
	volatile unsigned int loss;    /* per mille of the packets of RoCE */
	volatile unsigned int twice;   /* per mille that are forwarded twice */
	volatile unsigned int swapped; /* per mille that are forwarded after the next one */
	volatile bool cut;	       /* nothing is forwarded */
	volatile bool both;	       /* both ends are peerbar */
	volatile unsigned int marked;  /* per mille that are marked as by a congested router */
	/* more loss, of packets with one opcode, @drop_left times */
	volatile uint8_t drop_opcode;
	volatile unsigned int drop_loss;
	volatile unsigned int drop_left;
	volatile unsigned long sent; /* packets of sends and writes, also if the link is cut */
	/* of RoCE, from peerbar */
	volatile unsigned long packets;
	volatile unsigned long payload; /* bytes of packets with a payload */
	volatile unsigned long wrong;	/* packets whose length or ICRC is wrong */
	volatile unsigned long dropped;
};

extern struct relay *relay;

/*
 * Add a test case to the suite whose tests find both devices and the link. Each may take @timeout
 * seconds. @both: the peer is a peerbar device, too
 */
TCase *wire_case(Suite *s, const char *name, double timeout, bool both);
/*
 * Two ends with memory: pair.a on pbw, pair.b on its peer; or the reverse. IBV_QPT_XRC_SEND:
 * pair.b is an XRC target.
 */
void wire_pair(enum ibv_qp_type type, bool reverse);
/* Use the IPv6 addresses of both. */
void wire_use_ipv6(void);
/* Permit routers to mark the packets of the connection. */
void wire_use_ecn(void);
/* Connect them. @timeout as in struct ibv_qp_attr */
void wire_connect(enum ibv_mtu mtu, uint8_t timeout);
void wire_close(void);
/* Check that the relay saw no packet of peerbar's that is not right. */
void wire_is_clean(void);
/* Drop @per_mille of the packets with @opcode, at most @times. */
void wire_drop(uint8_t opcode, unsigned int per_mille, unsigned int times);
/* The value of a counter of pbw; of its peer, if that is peerbar. */
unsigned long wire_counter(const char *name);
unsigned long wire_peer_counter(const char *name);
/* Wait until a device has a link and a GID with this part; and for pbw's of its IPv4 address. */
void wire_wait_for_device(const char *device, const char *part);
void wire_wait_for_gid(void);

/* Send frames to pbw, behind the relay. */
int hostile_socket(void);
void hostile_send(int fd, const void *data, size_t size);
/* Compute the checksum of an IPv4 header without options, and store it. */
void ipv4_set_checksum(uint8_t *ip);
/* Compute the ICRC of a packet: its IP header, and what follows; the last 4 bytes are the ICRC's. */
uint32_t roce_icrc(const uint8_t *ip, size_t ip_size, const uint8_t *udp, size_t udp_size);

#endif
