// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Random messages to the netlink family. */
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "modules.h"
#include "testmod.h"

#define MESSAGES 2000

#define ROOM 4096

static int netlink_open(void)
{
	struct sockaddr_nl self = { .nl_family = AF_NETLINK };
	int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);

	ck_assert_int_ge(sock, 0);
	ck_assert_int_eq(bind(sock, (struct sockaddr *)&self, sizeof(self)), 0);
	return sock;
}

static uint32_t answer[65536 / 4];

/* Receive the next datagram. Return its length, or 0 if there is none. */
static size_t netlink_next(int sock)
{
	ssize_t n;

	do {
		n = recv(sock, answer, sizeof(answer), MSG_DONTWAIT | MSG_TRUNC);
	} while (n < 0 && errno == ENOBUFS);
	if (n < 0 && errno != EAGAIN)
		sane(errno, "an answer");
	must(n <= (ssize_t)sizeof(answer), "an answer has %zd bytes", n);
	return n < 0 ? 0 : (size_t)n;
}

/* Append an attribute. Return the message's new length. */
static size_t put_attribute(uint8_t *message, size_t at, uint16_t type, const void *data,
			    size_t length)
{
	struct nlattr attribute = { .nla_len = (uint16_t)(NLA_HDRLEN + length), .nla_type = type };

	memcpy(message + at, &attribute, NLA_HDRLEN);
	memcpy(message + at + NLA_HDRLEN, data, length);
	memset(message + at + NLA_HDRLEN + length, 0, (4 - length % 4) % 4);
	return at + NLA_HDRLEN + NLA_ALIGN(length);
}

static size_t put_header(uint8_t *message, uint16_t type, uint16_t flags, uint8_t cmd)
{
	struct nlmsghdr header = { .nlmsg_type = type, .nlmsg_flags = flags, .nlmsg_seq = call };
	struct genlmsghdr generic = { .cmd = cmd, .version = 1 };

	memcpy(message, &header, NLMSG_HDRLEN);
	memcpy(message + NLMSG_HDRLEN, &generic, GENL_HDRLEN);
	return NLMSG_HDRLEN + GENL_HDRLEN;
}

static void set_length(uint8_t *message, uint32_t length)
{
	memcpy(message, &length, sizeof(length));
}

/*
 * Find an attribute's payload in the message in answer[]. NULL if it has none, or is of another
 * family.
 */
static const void *find_attribute(uint16_t family, size_t length, uint16_t type, size_t size)
{
	const uint8_t *bytes = (const uint8_t *)answer;
	const struct nlmsghdr *header = (const struct nlmsghdr *)answer;
	size_t at = NLMSG_HDRLEN + GENL_HDRLEN;

	if (length < at || header->nlmsg_type != family || header->nlmsg_len > length)
		return NULL;
	while (at + NLA_HDRLEN <= header->nlmsg_len) {
		const struct nlattr *attribute = (const struct nlattr *)(bytes + at);

		if (attribute->nla_len < NLA_HDRLEN || attribute->nla_len > header->nlmsg_len - at)
			return NULL;
		if ((attribute->nla_type & NLA_TYPE_MASK) == type)
			return attribute->nla_len >= NLA_HDRLEN + size ? bytes + at + NLA_HDRLEN :
									 NULL;
		at += NLA_ALIGN(attribute->nla_len);
	}
	return NULL;
}

static uint16_t resolve(int sock)
{
	uint8_t message[128];
	size_t length = put_header(message, GENL_ID_CTRL, NLM_F_REQUEST, CTRL_CMD_GETFAMILY);
	const void *id;
	uint16_t family;

	length = put_attribute(message, length, CTRL_ATTR_FAMILY_NAME, PEERBAR_GENL_NAME,
			       sizeof(PEERBAR_GENL_NAME));
	set_length(message, (uint32_t)length);
	ck_assert_int_eq(send(sock, message, length, 0), (int)length);
	id = find_attribute(GENL_ID_CTRL, netlink_next(sock), CTRL_ATTR_FAMILY_ID, sizeof(family));
	ck_assert_ptr_nonnull(id);
	memcpy(&family, id, sizeof(family));
	return family;
}

/* Check that a valid request is answered. */
static void netlink_answers(uint16_t family, uint64_t id)
{
	int sock = netlink_open();
	uint8_t message[64];
	const void *told;
	size_t length;

	length = put_header(message, family, NLM_F_REQUEST, PEERBAR_CMD_BUFFER_GET);
	length = put_attribute(message, length, PEERBAR_A_ID, &id, sizeof(id));
	set_length(message, (uint32_t)length);
	ck_assert_int_eq(send(sock, message, length, 0), (int)length);
	told = find_attribute(family, netlink_next(sock), PEERBAR_A_ID, sizeof(id));
	must(told && !memcmp(told, &id, sizeof(id)),
	     "buffer %llu is there, but netlink does not answer", (unsigned long long)id);
	close(sock);
}

static void check_attributes(const uint8_t *bytes, size_t length)
{
	size_t at = 0;

	while (at < length) {
		struct nlattr attribute;

		must(length - at >= NLA_HDRLEN, "an answer ends in %zu bytes that are nothing",
		     length - at);
		memcpy(&attribute, bytes + at, NLA_HDRLEN);
		must(attribute.nla_len >= NLA_HDRLEN && attribute.nla_len <= length - at,
		     "an answer's attribute has %u bytes of %zu", attribute.nla_len, length - at);
		must((attribute.nla_type & NLA_TYPE_MASK) <= PEERBAR_A_MAX,
		     "an answer has the attribute %u", attribute.nla_type);
		at += NLA_ALIGN(attribute.nla_len);
	}
}

/* Check that the messages of a datagram are complete and valid. */
static void check_answer(uint16_t family, size_t length)
{
	const uint8_t *bytes = (const uint8_t *)answer;
	size_t at = 0, head = NLMSG_HDRLEN + GENL_HDRLEN;
	struct nlmsghdr header;
	int error;

	while (at < length) {
		must(length - at >= NLMSG_HDRLEN, "an answer ends in %zu bytes that are nothing",
		     length - at);
		memcpy(&header, bytes + at, NLMSG_HDRLEN);
		must(header.nlmsg_len >= NLMSG_HDRLEN && header.nlmsg_len <= length - at,
		     "an answer says it has %u bytes of %zu", header.nlmsg_len, length - at);
		if (header.nlmsg_type == NLMSG_ERROR || header.nlmsg_type == NLMSG_DONE) {
			must(header.nlmsg_len >= NLMSG_HDRLEN + sizeof(error),
			     "an answer has no room for its result");
			memcpy(&error, bytes + at + NLMSG_HDRLEN, sizeof(error));
			if (error)
				sane(-error, "a netlink message");
		} else {
			must(header.nlmsg_type == family && header.nlmsg_len >= head,
			     "an answer is of type %u", header.nlmsg_type);
			check_attributes(bytes + at + head, header.nlmsg_len - head);
		}
		at += NLMSG_ALIGN(header.nlmsg_len);
	}
}

static size_t any_attributes(uint8_t *message, size_t at, uint64_t id, unsigned int depth)
{
	uint8_t data[256], *inner;
	size_t i, length;

	for (i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)any();
	while (at < ROOM / 2 && !one_in(3)) {
		struct nlattr *attribute = (struct nlattr *)(message + at);
		uint16_t type = (uint16_t)(one_in(2)	     ? PEERBAR_A_ID :
						   one_in(8) ? any_bits() :
							       below(PEERBAR_A_MAX + 3));

		if (one_in(8))
			type |= one_in(2) ? NLA_F_NESTED : NLA_F_NET_BYTEORDER;
		if (type == PEERBAR_A_ID && !one_in(3)) {
			uint64_t value = one_in(3) ? any() >> below(64) : id;

			at = put_attribute(message, at, type, &value, sizeof(value));
			continue;
		}
		if (depth && one_in(4)) {
			inner = message + at;
			at = any_attributes(message, at + NLA_HDRLEN, id, depth - 1);
			length = (size_t)(message + at - inner) - NLA_HDRLEN;
			attribute->nla_type = type | NLA_F_NESTED;
		} else {
			length = below(one_in(4) ? sizeof(data) : 17);
			at = put_attribute(message, at, type, data, length);
		}
		attribute->nla_len = (uint16_t)(NLA_HDRLEN + length);
		/* A wrong length. */
		if (one_in(8))
			attribute->nla_len = (uint16_t)(one_in(2) ? below(NLA_HDRLEN + 1) :
								    any_bits());
	}
	return at;
}

static size_t any_message(uint8_t *message, uint16_t family, uint64_t id)
{
	uint16_t flags = one_in(16) ? 0 : NLM_F_REQUEST;
	uint8_t cmd = one_in(3) ? PEERBAR_CMD_IMPORTERS_GET : PEERBAR_CMD_BUFFER_GET;
	size_t length;

	if (one_in(3))
		flags |= NLM_F_DUMP;
	if (one_in(3))
		flags |= NLM_F_ACK;
	if (one_in(8))
		flags |= (uint16_t)any_bits();
	if (one_in(4))
		cmd = one_in(2) ? (uint8_t)any() : (uint8_t)below(PEERBAR_CMD_IMPORTERS_GET + 2);
	length = put_header(message, one_in(16) ? (uint16_t)below(NLMSG_MIN_TYPE) : family, flags,
			    cmd);
	if (one_in(8)) {
		struct genlmsghdr generic = { .cmd = cmd,
					      .version = (uint8_t)any(),
					      .reserved = (uint16_t)any() };

		memcpy(message + NLMSG_HDRLEN, &generic, GENL_HDRLEN);
	}
	length = any_attributes(message, length, id, 5);
	set_length(message, (uint32_t)length);
	if (one_in(8))
		set_length(message,
			   one_in(2)	     ? below((uint32_t)length) :
				   one_in(2) ? (uint32_t)length + below(64) :
					       any_bits());
	return length;
}

static void any_option(int sock)
{
	static const int options[] = { NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK,
				       NETLINK_NO_ENOBUFS };
	int on = (int)below(2);

	setsockopt(sock, SOL_NETLINK, options[below(4)], &on, sizeof(on));
}

START_TEST(messages)
{
	static uint32_t room[(3 * ROOM + 64) / 4]; /* aligned */
	uint8_t *message = (uint8_t *)room;
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	int buffer, importer, more = -1, sock;
	uint16_t family;
	uint64_t id;

	begin();
	importer = test_importer_open();
	sock = netlink_open();
	family = resolve(sock);
	buffer = export_raw(fixture.gpu, GPU_BAR, 0, PAGE, O_RDWR | O_CLOEXEC);
	id = query(buffer).id;
	ck_assert_int_gt(test_import_attach(importer, buffer, PEERBAR_TEST_KIND_REVOCABLE, 0,
					    lab_bdf(LAB_NIC)),
			 0);
	for (call = 1; call <= MESSAGES; call++) {
		size_t length = any_message(message, family, id), n;
		ssize_t ret;

		/* Several at once. */
		while (one_in(8) && length < ROOM)
			length += any_message(message + length, family, id);
		if (one_in(16))
			length = below((uint32_t)length + 1);
		ret = sendto(sock, message, length, MSG_DONTWAIT, (struct sockaddr *)&kernel,
			     sizeof(kernel));
		if (ret < 0)
			sane(errno, "a message to netlink");
		else
			must((size_t)ret == length, "netlink takes %zd bytes of %zu", ret, length);
		/* Let answers pile up sometimes, and sometimes never receive them. */
		if (!one_in(8)) {
			while ((n = netlink_next(sock)))
				check_answer(family, n);
		} else if (one_in(8)) {
			close(sock);
			sock = netlink_open();
		}
		if (one_in(32))
			any_option(sock);
		/* Change the list, possibly during a dump. */
		if (one_in(16) && more < 0) {
			more = export_raw(fixture.gpu, GPU_BAR, MIB, PAGE, O_RDWR | O_CLOEXEC);
		} else if (one_in(16) && more >= 0) {
			close(more);
			more = -1;
		}
	}
	close(sock);
	netlink_answers(family, id);
	if (more >= 0)
		close(more);
	close(importer);
	close(buffer);
	finish(0);
}
END_TEST

LAB_SUITE_PART("fuzz")
{
	TCase *t = suite_case(s, "all", 300, modules_up, modules_down);

	tcase_add_test(t, messages);
}
