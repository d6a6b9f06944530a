// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Messages of peerbar's netlink family. */
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../sentence.h"
#include "internal.h"
#include "unit.h"

/* The message under construction. */
static struct {
	_Alignas(struct nlattr) char bytes[4096];
	size_t n;
} message;

static void put(unsigned int type, const void *value, size_t size)
{
	struct nlattr head = { .nla_type = (uint16_t)type,
			       .nla_len = (uint16_t)(NLA_HDRLEN + size) };

	memset(message.bytes + message.n, 0, NLA_HDRLEN + NLA_ALIGN(size));
	memcpy(message.bytes + message.n, &head, sizeof(head));
	memcpy(message.bytes + message.n + NLA_HDRLEN, value, size);
	message.n += NLA_HDRLEN + NLA_ALIGN(size);
}

static void put_number(unsigned int type, uint64_t value, size_t size)
{
	/* Netlink has the CPU's byte order. */
	uint32_t half = (uint32_t)value;

	put(type, size == 4 ? (void *)&half : (void *)&value, size);
}

static void put_text(unsigned int type, const char *text)
{
	put(type, text, strlen(text) + 1);
}

static void put_range(uint64_t start, uint64_t length)
{
	size_t at = message.n;
	struct nlattr head;

	put(PEERBAR_A_RANGE | NLA_F_NESTED, "", 0);
	put_number(PEERBAR_A_RANGE_START, start, 8);
	put_number(PEERBAR_A_RANGE_LENGTH, length, 8);
	memcpy(&head, message.bytes + at, sizeof(head));
	head.nla_len = (uint16_t)(message.n - at);
	memcpy(message.bytes + at, &head, sizeof(head));
}

/* Send an event like the kernel. Return whether the other socket receives it. */
static bool heard(const int sockets[2], uint8_t cmd, uint64_t id)
{
	struct nlmsghdr head = { .nlmsg_type = 0x17 };
	struct genlmsghdr genl = { .cmd = cmd, .version = PEERBAR_GENL_VERSION };
	char packet[512];
	size_t size = NLMSG_HDRLEN + GENL_HDRLEN;
	ssize_t n;

	message.n = 0;
	put_text(PEERBAR_A_NAME, "0000:01:00.0/BAR2");
	put_number(PEERBAR_A_ID, id, 8);
	put_number(PEERBAR_A_SIZE, 0x300000000ULL, 8);
	head.nlmsg_len = (uint32_t)(size + message.n);
	memcpy(packet, &head, sizeof(head));
	memcpy(packet + NLMSG_HDRLEN, &genl, sizeof(genl));
	memcpy(packet + size, message.bytes, message.n);
	ck_assert_int_eq(send(sockets[0], packet, size + message.n, MSG_DONTWAIT),
			 (ssize_t)(size + message.n));
	n = recv(sockets[1], packet, sizeof(packet), MSG_DONTWAIT);
	ck_assert(n == (ssize_t)(size + message.n) || (n < 0 && errno == EAGAIN));
	return n > 0;
}

/* The events that wake a guest: the filter is tested on another socket. */
START_TEST(events_of_some_buffers)
{
	const uint64_t ids[] = { 7, 0x100000007ULL, 0xfedcba9876543210ULL };
	uint64_t many[600];
	int sockets[2];
	unsigned int i;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets), 0);
	ck_assert(heard(sockets, PEERBAR_CMD_BUFFER_CREATED, 7));
	ck_assert_int_eq(pb_filter_events(sockets[1], NULL, 0), 0);
	ck_assert(!heard(sockets, PEERBAR_CMD_BUFFER_REVOKED, 7));
	ck_assert_int_eq(pb_filter_events(sockets[1], ids, 3), 0);
	for (i = 0; i < 3; i++) {
		ck_assert(heard(sockets, PEERBAR_CMD_BUFFER_REVOKED, ids[i]));
		ck_assert(heard(sockets, PEERBAR_CMD_BUFFER_RESTORED, ids[i]));
		ck_assert(!heard(sockets, PEERBAR_CMD_BUFFER_CREATED, ids[i]));
		ck_assert(!heard(sockets, PEERBAR_CMD_BUFFER_RELEASED, ids[i]));
		ck_assert(!heard(sockets, PEERBAR_CMD_BUFFER_REVOKED, ids[i] + 1));
		ck_assert(!heard(sockets, PEERBAR_CMD_BUFFER_REVOKED, ids[i] ^ 1ULL << 35));
	}
	ck_assert(!heard(sockets, PEERBAR_CMD_BUFFER_REVOKED, 0x700000001ULL));
	ck_assert_int_eq(pb_filter_events(sockets[1], ids, 1), 0);
	ck_assert(!heard(sockets, PEERBAR_CMD_BUFFER_REVOKED, ids[1]));
	/*
	 * The longest filter that distinguishes buffers, if the system permits a filter of that
	 * length; and more buffers.
	 */
	for (i = 0; i < 600; i++)
		many[i] = 1000 + i;
	ck_assert_int_eq(pb_filter_events(sockets[1], many, 512), 0);
	ck_assert(heard(sockets, PEERBAR_CMD_BUFFER_RESTORED, 1000));
	ck_assert(heard(sockets, PEERBAR_CMD_BUFFER_RESTORED, 1511));
	ck_assert(!heard(sockets, PEERBAR_CMD_BUFFER_MOVED, 1511));
	ck_assert_int_eq(pb_filter_events(sockets[1], many, 600), 0);
	ck_assert(heard(sockets, PEERBAR_CMD_BUFFER_REVOKED, 1599));
	ck_assert(!heard(sockets, PEERBAR_CMD_BUFFER_CREATED, 1599));
	close(sockets[0]);
	close(sockets[1]);
}
END_TEST

START_TEST(a_listed_buffer)
{
	struct pb_listed b;

	message.n = 0;
	put_number(PEERBAR_A_ID, 0x123456789abULL, 8);
	put_text(PEERBAR_A_EXPORTER, "peerbar_vfio_pci");
	put_text(PEERBAR_A_DEVICE, "0000:01:00.0");
	put_text(PEERBAR_A_NAME, "0000:01:00.0/BAR2");
	put_number(PEERBAR_A_SIZE, 0x300000000ULL, 8);
	put_number(PEERBAR_A_MODEL, PEERBAR_MODEL_REVOCABLE, 4);
	put_number(PEERBAR_A_STATE, PEERBAR_STATE_DEAD, 4);
	put_number(PEERBAR_A_MEMATTR, PEERBAR_MEMATTR_WC, 4);
	put_number(PEERBAR_A_NR_RANGES, 3, 4);
	put_number(PEERBAR_A_NR_IMPORTERS, 2, 4);
	put_number(PEERBAR_A_NR_MMAPS, 5, 4);
	put_number(PEERBAR_A_CREATOR, 4711, 4);
	put_range(0x1000, 0x2000);
	put_range(0x100000000ULL, 0x4000);
	put_text(PEERBAR_A_IMPORTER, "iommu");
	put_text(PEERBAR_A_IMPORTER, "0000:02:00.0");
	/* Of a newer kernel module. */
	put_text(PEERBAR_A_MAX + 1, "what is this?");
	ck_assert_int_eq(pb_parse_listed(message.bytes, message.n, &b), 0);
	ck_assert_uint_eq(b.id, 0x123456789abULL);
	ck_assert_str_eq(b.exporter, "peerbar_vfio_pci");
	ck_assert_str_eq(b.device, "0000:01:00.0");
	ck_assert_str_eq(b.name, "0000:01:00.0/BAR2");
	ck_assert_uint_eq(b.size, 0x300000000ULL);
	ck_assert_int_eq(b.model, PB_REVOCABLE);
	ck_assert_int_eq(b.state, PB_BUFFER_DEAD);
	ck_assert_int_eq(b.memattr, PB_WC);
	ck_assert_uint_eq(b.nr_ranges, 3);
	ck_assert_uint_eq(b.nr_importers, 2);
	ck_assert_uint_eq(b.nr_mmaps, 5);
	ck_assert_uint_eq(b.creator, 4711);
	ck_assert_uint_eq(b.nr_extents, 2);
	ck_assert_uint_eq(b.extents[0].start, 0x1000);
	ck_assert_uint_eq(b.extents[0].length, 0x2000);
	ck_assert_uint_eq(b.extents[1].start, 0x100000000ULL);
	ck_assert_uint_eq(b.nr_importer_names, 2);
	ck_assert_str_eq(b.importer_names[0], "iommu");
	ck_assert_str_eq(b.importer_names[1], "0000:02:00.0");
	free(b.extents);
	free(b.importer_names);
}
END_TEST

/* Begin a nested attribute; end it with end_nest(). */
static size_t begin_nest(unsigned int type)
{
	size_t at = message.n;

	put(type | NLA_F_NESTED, "", 0);
	return at;
}

static void end_nest(size_t at)
{
	struct nlattr head;

	memcpy(&head, message.bytes + at, sizeof(head));
	head.nla_len = (uint16_t)(message.n - at);
	memcpy(message.bytes + at, &head, sizeof(head));
}

START_TEST(importers_of_a_buffer)
{
	const uint64_t second = 1000000000;
	struct pb_importer_list list = { 0 };
	size_t at;

	/* The nests may come before the times. */
	message.n = 0;
	at = begin_nest(PEERBAR_A_ATTACHMENT);
	put_number(PEERBAR_A_ATTACHMENT_ID, 3, 8);
	put_text(PEERBAR_A_ATTACHMENT_DEVICE, "0000:06:00.0");
	put_text(PEERBAR_A_ATTACHMENT_DRIVER, "mlx5_core");
	put_number(PEERBAR_A_ATTACHMENT_FLAGS,
		   PEERBAR_IMPORTER_REVOCABLE | PEERBAR_IMPORTER_WAITED_FOR, 4);
	put_number(PEERBAR_A_ATTACHMENT_MAPS, 2, 4);
	put_number(PEERBAR_A_ATTACHMENT_BYTES, 0x4000, 8);
	put_number(PEERBAR_A_ATTACHMENT_ATTACHED_NS, 10 * second, 8);
	put_number(PEERBAR_A_ATTACHMENT_MAPPED_NS, 11 * second, 8);
	put_number(999, 5, 4);
	end_nest(at);
	at = begin_nest(PEERBAR_A_ATTACHMENT);
	put_number(PEERBAR_A_ATTACHMENT_ID, 4, 8);
	put_text(PEERBAR_A_ATTACHMENT_DEVICE, "iommu");
	put_text(PEERBAR_A_ATTACHMENT_DRIVER, "misc");
	put_number(PEERBAR_A_ATTACHMENT_FLAGS, PEERBAR_IMPORTER_ADDRESSES, 4);
	put_number(PEERBAR_A_ATTACHMENT_ATTACHED_NS, 15 * second, 8);
	end_nest(at);
	at = begin_nest(PEERBAR_A_FENCE);
	put_text(PEERBAR_A_FENCE_DRIVER, "amdgpu");
	put_text(PEERBAR_A_FENCE_TIMELINE, "gfx");
	put_number(PEERBAR_A_FENCE_CONTEXT, 8, 8);
	put_number(PEERBAR_A_FENCE_SEQNO, 77, 8);
	end_nest(at);
	put_number(PEERBAR_A_ID, 12, 8);
	put_text(PEERBAR_A_NAME, "0000:01:00.0/BAR2");
	put_number(PEERBAR_A_STATE, PEERBAR_STATE_DEAD, 4);
	put_number(PEERBAR_A_REVOKED_NS, 16 * second, 8);
	put_number(PEERBAR_A_NOW_NS, 20 * second, 8);
	ck_assert_int_eq(pb_parse_importers(message.bytes, message.n, &list), 0);
	ck_assert_uint_eq(list.n, 3);
	ck_assert_uint_eq(list.list[0].list_id, 12);
	ck_assert_str_eq(list.list[0].buffer, "0000:01:00.0/BAR2");
	ck_assert_int_eq(list.list[0].state, PB_BUFFER_DEAD);
	ck_assert_int_eq(list.list[0].kind, PB_IMPORTER_DEVICE);
	ck_assert_uint_eq(list.list[0].id, 3);
	ck_assert_str_eq(list.list[0].device, "0000:06:00.0");
	ck_assert_str_eq(list.list[0].driver, "mlx5_core");
	ck_assert_uint_eq(list.list[0].nr_maps, 2);
	ck_assert_uint_eq(list.list[0].bytes, 0x4000);
	ck_assert(list.list[0].revocable && list.list[0].waited_for);
	ck_assert(!list.list[0].addresses && !list.list[0].pinned);
	ck_assert_uint_eq(list.list[0].attached_ns, 10 * second);
	ck_assert_uint_eq(list.list[0].mapped_ns, 9 * second);
	ck_assert_uint_eq(list.list[0].waited_ns, 4 * second);
	/* It has nothing mapped, and no revoke waits for it. */
	ck_assert_uint_eq(list.list[1].list_id, 12);
	ck_assert(list.list[1].addresses && !list.list[1].waited_for);
	ck_assert_uint_eq(list.list[1].mapped_ns, 0);
	ck_assert_uint_eq(list.list[1].waited_ns, 0);
	/* A pending fence of a buffer that is not live is waited for. */
	ck_assert_int_eq(list.list[2].kind, PB_IMPORTER_FENCE);
	ck_assert_str_eq(list.list[2].device, "");
	ck_assert_str_eq(list.list[2].driver, "amdgpu");
	ck_assert_str_eq(list.list[2].timeline, "gfx");
	ck_assert_uint_eq(list.list[2].context, 8);
	ck_assert_uint_eq(list.list[2].id, 77);
	ck_assert(list.list[2].waited_for);
	/* Another buffer, live: appended, and nothing is waited for. */
	message.n = 0;
	put_number(PEERBAR_A_ID, 13, 8);
	put_number(PEERBAR_A_STATE, PEERBAR_STATE_LIVE, 4);
	put_number(PEERBAR_A_NOW_NS, 20 * second, 8);
	at = begin_nest(PEERBAR_A_FENCE);
	end_nest(at);
	ck_assert_int_eq(pb_parse_importers(message.bytes, message.n, &list), 0);
	ck_assert_uint_eq(list.n, 4);
	ck_assert_uint_eq(list.list[3].list_id, 13);
	ck_assert(!list.list[3].waited_for);
	message.n = 0;
	ck_assert_int_eq(pb_parse_importers(message.bytes, 0, &list), -EBADMSG);
	ck_assert_uint_eq(list.n, 4);
	free(list.list);
}
END_TEST

START_TEST(messages_that_are_wrong)
{
	static const char longer[] =
		"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
	struct pb_listed b;

	/* A message without an ID is invalid, and nothing is kept. */
	message.n = 0;
	ck_assert_int_eq(pb_parse_listed(message.bytes, 0, &b), -EBADMSG);
	put_range(0x1000, 0x2000);
	put_text(PEERBAR_A_IMPORTER, "iommu");
	ck_assert_int_eq(pb_parse_listed(message.bytes, message.n, &b), -EBADMSG);
	ck_assert_ptr_null(b.extents);
	/* A short number is ignored. A long or unterminated name is truncated. */
	message.n = 0;
	put(PEERBAR_A_SIZE, "abcd", 4);
	put(PEERBAR_A_STATE, "a", 1);
	put_number(PEERBAR_A_ID, 1, 8);
	put(PEERBAR_A_NAME, longer, sizeof(longer) - 1);
	put(PEERBAR_A_EXPORTER, "abc", 3);
	put(PEERBAR_A_DEVICE, "", 0);
	ck_assert_int_eq(pb_parse_listed(message.bytes, message.n, &b), 0);
	ck_assert_uint_eq(b.size, 0);
	ck_assert_int_eq(b.state, PB_BUFFER_UNKNOWN);
	ck_assert_uint_eq(strlen(b.name), sizeof(b.name) - 1);
	ck_assert_str_eq(b.exporter, "abc");
	ck_assert_str_eq(b.device, "");
}
END_TEST

/* Random messages, for the sanitizers. */
START_TEST(messages_of_noise)
{
	unsigned int seed = 42, round;

	for (round = 0; round < 20000; round++) {
		size_t i, n = (size_t)rand_r(&seed) % 256;
		/* Allocate the exact size, so that reads beyond it are detected. */
		uint32_t *noise = malloc((n + 3) / 4 * 4 + 4);
		struct pb_listed b;

		ck_assert_ptr_nonnull(noise);
		for (i = 0; i <= (n + 3) / 4; i++)
			noise[i] = (uint32_t)rand_r(&seed) &
				(rand_r(&seed) % 4 ? 0x000f003f : UINT32_MAX);
		noise = realloc(noise, n ? n : 1);
		if (!pb_parse_listed(noise, n, &b)) {
			free(b.extents);
			free(b.importer_names);
		}
		free(noise);
	}
}
END_TEST

START_TEST(lists_are_one_block)
{
	struct pb_listed *list = calloc(2, sizeof(*list)), *packed;

	ck_assert_ptr_nonnull(list);
	list[0].id = 1;
	list[1].id = 2;
	list[1].nr_extents = 2;
	list[1].extents = calloc(2, sizeof(*list[1].extents));
	list[1].extents[1].length = 0x1000;
	list[1].nr_importer_names = 1;
	list[1].importer_names = calloc(1, sizeof(*list[1].importer_names));
	strcpy(list[1].importer_names[0], "iommu");
	packed = pb_pack_listed(list, 2, sizeof(*list));
	ck_assert_ptr_nonnull(packed);
	ck_assert_uint_eq(packed[0].id, 1);
	ck_assert_ptr_null(packed[0].extents);
	ck_assert_ptr_null(packed[0].importer_names);
	ck_assert_uint_eq(packed[1].id, 2);
	ck_assert_uint_eq(packed[1].extents[1].length, 0x1000);
	ck_assert_str_eq(packed[1].importer_names[0], "iommu");
	free(packed);
	/* An empty list is valid. */
	packed = pb_pack_listed(NULL, 0, sizeof(*list));
	ck_assert_ptr_nonnull(packed);
	free(packed);
}
END_TEST

void add_message_tests(TCase *t)
{
	tcase_add_test(t, events_of_some_buffers);
	tcase_add_test(t, a_listed_buffer);
	tcase_add_test(t, importers_of_a_buffer);
	tcase_add_test(t, messages_that_are_wrong);
	tcase_add_test(t, messages_of_noise);
	tcase_add_test(t, lists_are_one_block);
}
