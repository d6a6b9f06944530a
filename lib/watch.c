// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The events of buffers, by netlink; and a filter for those of some buffers. */
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/genetlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <sys/socket.h>

#include "internal.h"
#include "netlink.h"

struct pb_watch {
	pthread_mutex_t lock;
	struct nl_sock *sk;
	int family;
	size_t at, have; /* in @messages */
	_Alignas(struct nlmsghdr) char messages[16384];
};

/* The maximum number of buffers in a filter; the kernel allows 4,096 instructions. */
#define MAX_FILTERED 512

int pb_filter_events(int fd, const uint64_t *ids, unsigned int n)
{
	/* Accept messages that match the command and the number. BPF loads words as big-endian. */
	const struct sock_filter head[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, NLMSG_HDRLEN + offsetof(struct genlmsghdr, cmd)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PEERBAR_CMD_BUFFER_REVOKED, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PEERBAR_CMD_BUFFER_RESTORED, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_LD | BPF_IMM, NLMSG_HDRLEN + GENL_HDRLEN),
		BPF_STMT(BPF_LDX | BPF_IMM, PEERBAR_A_ID),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)SKF_AD_OFF + SKF_AD_NLATTR),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
	};
	const unsigned int nr_head = sizeof(head) / sizeof(head[0]);
	struct sock_filter *code;
	struct sock_fprog program;
	unsigned int i, len = nr_head;
	int ret;

	code = calloc(nr_head + 5 * MAX_FILTERED + 1, sizeof(*code));
	if (!code)
		return -ENOMEM;
	memcpy(code, head, sizeof(head));
	for (i = 0; n <= MAX_FILTERED && i < n; i++) {
		uint32_t words[2];
		const struct sock_filter same[] = {
			BPF_STMT(BPF_LD | BPF_W | BPF_IND, NLA_HDRLEN),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3),
			BPF_STMT(BPF_LD | BPF_W | BPF_IND, NLA_HDRLEN + 4),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
			BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		};

		memcpy(words, &ids[i], sizeof(words));
		memcpy(code + len, same, sizeof(same));
		code[len + 1].k = ntohl(words[0]);
		code[len + 3].k = ntohl(words[1]);
		len += sizeof(same) / sizeof(same[0]);
	}
	/* Accept all events if there are too many buffers. */
	code[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
						   n <= MAX_FILTERED ? 0 : UINT32_MAX);
	program = (struct sock_fprog){ .len = (unsigned short)len, .filter = code };
	ret = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ? -errno : 0;
	/* A long program may exceed the socket's memory limit. */
	if (ret && len > nr_head + 1) {
		code[nr_head] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
		program.len = (unsigned short)(nr_head + 1);
		ret = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ?
			-errno :
			0;
	}
	free(code);
	return ret;
}

int pb_watch_set_filter(struct pb_watch *watch, const uint64_t *ids, unsigned int n)
{
	return pb_filter_events(nl_socket_get_fd(watch->sk), ids, n);
}

static int open_watch(struct pb_watch **watch, bool silent, struct pb_error *err)
{
	static const char what[] = "watch buffers";
	struct pb_watch *new;
	int ret, group;

	new = calloc(1, sizeof(*new));
	if (!new)
		return pb_fail_errno(err, ENOMEM, "cannot %s", what);
	new->sk = pb_netlink_connect(&new->family, what, &ret, err);
	if (!new->sk)
		goto err_free;
	/* Allow bursts, up to the system's limit; libnl's default is small. */
	nl_socket_set_buffer_size(new->sk, 4 << 20, 0);
	ret = group = genl_ctrl_resolve_grp(new->sk, PEERBAR_GENL_NAME, PEERBAR_GENL_EVENTS);
	if (group >= 0 && silent) {
		ret = pb_watch_set_filter(new, NULL, 0);
		if (ret) {
			ret = pb_fail_errno(err, -ret, "cannot %s (SO_ATTACH_FILTER)", what);
			goto err_socket;
		}
	}
	if (group >= 0)
		ret = nl_socket_add_membership(new->sk, group);
	if (ret < 0) {
		ret = pb_fail_netlink(ret, what, err);
		goto err_socket;
	}
	pthread_mutex_init(&new->lock, NULL);
	*watch = new;
	return 0;

err_socket:
	nl_socket_free(new->sk);
err_free:
	free(new);
	return ret;
}

int pb_watch_open(struct pb_watch **watch, struct pb_error *err)
{
	return open_watch(watch, false, err);
}

int pb_watch_open_silent(struct pb_watch **watch, struct pb_error *err)
{
	return open_watch(watch, true, err);
}

int pb_watch_fd(const struct pb_watch *watch)
{
	return nl_socket_get_fd(watch->sk);
}

static bool get_event_type(uint8_t cmd, enum pb_event_type *type)
{
	switch (cmd) {
	case PEERBAR_CMD_BUFFER_CREATED:
		*type = PB_EVENT_CREATED;
		return true;
	case PEERBAR_CMD_BUFFER_REVOKED:
		*type = PB_EVENT_REVOKED;
		return true;
	case PEERBAR_CMD_BUFFER_RESTORED:
		*type = PB_EVENT_RESTORED;
		return true;
	case PEERBAR_CMD_BUFFER_MOVED:
		*type = PB_EVENT_MOVED;
		return true;
	case PEERBAR_CMD_BUFFER_RELEASED:
		*type = PB_EVENT_RELEASED;
		return true;
	default:
		return false;
	}
}

/* Parse the next received event; returns false if there is none left. */
static bool parse_next(struct pb_watch *watch, struct pb_event *event)
{
	while (watch->at < watch->have) {
		struct nlmsghdr *head = (struct nlmsghdr *)(watch->messages + watch->at);
		struct genlmsghdr *genl = nlmsg_data(head);

		if (!nlmsg_ok(head, (int)(watch->have - watch->at)))
			break;
		watch->at += NLMSG_ALIGN(head->nlmsg_len);
		if (head->nlmsg_type != watch->family || !genlmsg_valid_hdr(head, 0) ||
		    !get_event_type(genl->cmd, &event->type))
			continue;
		if (pb_parse_listed(genlmsg_attrdata(genl, 0), (size_t)genlmsg_attrlen(genl, 0),
				    &event->buffer))
			continue;
		/* Events have neither. Don't leak them if a newer module sends them. */
		free(event->buffer.extents);
		free(event->buffer.importer_names);
		event->buffer.extents = NULL;
		event->buffer.importer_names = NULL;
		event->buffer.nr_extents = event->buffer.nr_importer_names = 0;
		return true;
	}
	watch->at = watch->have = 0;
	return false;
}

/*
 * Returns 1 if a message was received, 0 if none is pending, -ENOBUFS if messages were lost, or
 * another -errno.
 */
static int receive_messages(struct pb_watch *watch)
{
	struct sockaddr_nl from = { 0 };
	socklen_t size = sizeof(from);
	ssize_t n;

	do {
		n = recvfrom(nl_socket_get_fd(watch->sk), watch->messages, sizeof(watch->messages),
			     MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)&from, &size);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	if ((size_t)n > sizeof(watch->messages))
		return -ENOBUFS;
	/* Ignore messages that the kernel did not send. */
	watch->have = from.nl_pid ? 0 : (size_t)n;
	return 1;
}

int pb_watch_next_sized(struct pb_watch *watch, struct pb_event *event, size_t size,
			struct pb_error *err)
{
	struct pb_event next;
	int ret = 1;

	pthread_mutex_lock(&watch->lock);
	while (ret == 1 && !parse_next(watch, &next))
		ret = receive_messages(watch);
	pthread_mutex_unlock(&watch->lock);
	if (ret < 0 && ret != -ENOBUFS)
		return pb_fail_errno(err, -ret, "cannot receive an event from netlink");
	if (ret != 1)
		next = (struct pb_event){ .type = ret ? PB_EVENT_LOST : PB_EVENT_NONE };
	pb_fill_sized(event, size, &next, sizeof(next));
	return 0;
}

void pb_watch_close(struct pb_watch *watch)
{
	if (!watch)
		return;
	nl_socket_free(watch->sk);
	pthread_mutex_destroy(&watch->lock);
	free(watch);
}
