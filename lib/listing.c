// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The generic netlink family "peerbar": the list of buffers, and their events. */
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/genetlink.h>
#include <netlink/attr.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sys/socket.h>

#include "internal.h"

/* ---- messages ---- */

static uint64_t get_u64(const struct nlattr *a)
{
	return nla_len(a) >= (int)sizeof(uint64_t) ? nla_get_u64(a) : 0;
}

static uint32_t get_u32(const struct nlattr *a)
{
	return nla_len(a) >= (int)sizeof(uint32_t) ? nla_get_u32(a) : 0;
}

/* Copy a name, truncated if it is too long. The kernel may or may not terminate it with a NUL. */
static void get_name(const struct nlattr *a, char name[PB_NAME_LEN])
{
	size_t n = strnlen(nla_data(a), (size_t)nla_len(a));

	if (n >= PB_NAME_LEN)
		n = PB_NAME_LEN - 1;
	memcpy(name, nla_data(a), n);
	name[n] = '\0';
}

static int add_extent(struct pb_listed *listed, struct nlattr *range)
{
	struct pb_extent *more, extent = { 0 };
	struct nlattr *a;
	int rest;

	nla_for_each_nested(a, range, rest) {
		if (nla_type(a) == PEERBAR_A_RANGE_START)
			extent.start = get_u64(a);
		else if (nla_type(a) == PEERBAR_A_RANGE_LENGTH)
			extent.length = get_u64(a);
	}
	more = reallocarray(listed->extents, listed->nr_extents + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	more[listed->nr_extents++] = extent;
	listed->extents = more;
	return 0;
}

static int add_importer(struct pb_listed *listed, const struct nlattr *name)
{
	char (*more)[PB_NAME_LEN];

	more = reallocarray(listed->importer_names, listed->nr_importer_names + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	get_name(name, more[listed->nr_importer_names++]);
	listed->importer_names = more;
	return 0;
}

/* Ignore unknown attributes, of newer kernel modules. */
static int take_attribute(struct pb_listed *listed, struct nlattr *a)
{
	switch (nla_type(a)) {
	case PEERBAR_A_ID:
		listed->id = get_u64(a);
		break;
	case PEERBAR_A_EXPORTER:
		get_name(a, listed->exporter);
		break;
	case PEERBAR_A_DEVICE:
		get_name(a, listed->device);
		break;
	case PEERBAR_A_NAME:
		get_name(a, listed->name);
		break;
	case PEERBAR_A_SIZE:
		listed->size = get_u64(a);
		break;
	case PEERBAR_A_MODEL:
		listed->model = (enum pb_model)get_u32(a);
		break;
	case PEERBAR_A_STATE:
		listed->state = (enum pb_buffer_state)get_u32(a);
		break;
	case PEERBAR_A_MEMATTR:
		listed->memattr = (enum pb_memattr)get_u32(a);
		break;
	case PEERBAR_A_NR_RANGES:
		listed->nr_ranges = get_u32(a);
		break;
	case PEERBAR_A_NR_IMPORTERS:
		listed->nr_importers = get_u32(a);
		break;
	case PEERBAR_A_NR_MMAPS:
		listed->nr_mmaps = get_u32(a);
		break;
	case PEERBAR_A_CREATOR:
		listed->creator = get_u32(a);
		break;
	case PEERBAR_A_RANGE:
		return add_extent(listed, a);
	case PEERBAR_A_IMPORTER:
		return add_importer(listed, a);
	}
	return 0;
}

int pb_parse_listed(const void *attributes, size_t length, struct pb_listed *listed)
{
	struct nlattr *a;
	int ret = 0;
	int rest;

	memset(listed, 0, sizeof(*listed));
	nla_for_each_attr(a, (struct nlattr *)attributes, (int)length, rest) {
		ret = take_attribute(listed, a);
		if (ret)
			break;
	}
	if (!ret && !listed->id)
		ret = -EBADMSG;
	if (ret) {
		free(listed->extents);
		free(listed->importer_names);
		memset(listed, 0, sizeof(*listed));
	}
	return ret;
}

static void free_listed(struct pb_listed *list, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		free(list[i].extents);
		free(list[i].importer_names);
	}
	free(list);
}

struct pb_listed *pb_pack_listed(struct pb_listed *list, size_t n, size_t element)
{
	struct pb_extent *extents;
	size_t size, i, e = 0, names = 0;
	char (*name)[PB_NAME_LEN];
	char *packed;

	for (i = 0; i < n; i++) {
		e += list[i].nr_extents;
		names += list[i].nr_importer_names;
	}
	/* Align the extents after the elements, whatever the element size. */
	size = (n * element + _Alignof(struct pb_extent) - 1) & ~(_Alignof(struct pb_extent) - 1);
	packed = malloc(size + e * sizeof(*extents) + names * sizeof(*name) + 1);
	if (!packed)
		goto out;
	extents = (struct pb_extent *)(packed + size);
	name = (char (*)[PB_NAME_LEN])(extents + e);
	for (i = 0; i < n; i++) {
		struct pb_listed one = list[i];

		one.extents = list[i].nr_extents ? extents : NULL;
		one.importer_names = list[i].nr_importer_names ? name : NULL;
		pb_fill_sized(packed + i * element, element, &one, sizeof(one));
		if (list[i].nr_extents)
			memcpy(extents, list[i].extents, list[i].nr_extents * sizeof(*extents));
		if (list[i].nr_importer_names)
			memcpy(name, list[i].importer_names, list[i].nr_importer_names * sizeof(*name));
		extents += list[i].nr_extents;
		name += list[i].nr_importer_names;
	}
out:
	free_listed(list, n);
	return (struct pb_listed *)packed;
}

/* ---- the socket ---- */

/* libnl has its own errors, fewer than there are errnos. */
static int nl_errno(int error)
{
	switch (error < 0 ? -error : error) {
	case NLE_NOMEM:
		return ENOMEM;
	case NLE_PERM:
		return EPERM;
	case NLE_NOACCESS:
		return EACCES;
	case NLE_OBJ_NOTFOUND:
		return ENOENT;
	case NLE_AF_NOSUPPORT:
		return EAFNOSUPPORT;
	case NLE_DUMP_INTR:
		return EAGAIN;
	case NLE_OPNOTSUPP:
		return EOPNOTSUPP;
	default:
		return EIO;
	}
}

static int nl_failed(int error, const char *what, struct pb_error *err)
{
	int code = nl_errno(error);

	if (code == ENOENT)
		return pb_fail(err, ENOENT, "cannot %s: there is no netlink family '" PEERBAR_GENL_NAME "'; this needs the kernel module "
			       "peerbar: modprobe peerbar", what);
	return pb_fail(err, code, "cannot %s: netlink fails with '%s'", what, nl_geterror(error));
}

/* Returns a connected socket, and the family's number in *@family; NULL on failure. */
static struct nl_sock *connect_family(int *family, const char *what, int *ret, struct pb_error *err)
{
	struct nl_sock *sk;

	sk = nl_socket_alloc();
	if (!sk) {
		*ret = pb_fail_errno(err, ENOMEM, "cannot %s", what);
		return NULL;
	}
	*ret = genl_connect(sk);
	if (!*ret)
		*ret = *family = genl_ctrl_resolve(sk, PEERBAR_GENL_NAME);
	if (*ret >= 0)
		return sk;
	nl_socket_free(sk);
	*ret = nl_failed(*ret, what, err);
	return NULL;
}

/* ---- the list ---- */

struct collection {
	struct pb_listed *list;
	size_t n, room;
	int ret;
};

static int collect(struct nl_msg *msg, void *arg)
{
	struct genlmsghdr *head = nlmsg_data(nlmsg_hdr(msg));
	struct collection *c = arg;
	struct pb_listed listed;
	int ret;

	ret = pb_parse_listed(genlmsg_attrdata(head, 0), (size_t)genlmsg_attrlen(head, 0), &listed);
	if (ret == -EBADMSG)
		return NL_OK;
	if (!ret && c->n == c->room) {
		struct pb_listed *more;

		c->room = c->room ? 2 * c->room : 16;
		more = reallocarray(c->list, c->room, sizeof(*more));
		if (more) {
			c->list = more;
		} else {
			free(listed.extents);
			free(listed.importer_names);
			ret = -ENOMEM;
		}
	}
	if (ret) {
		c->ret = ret;
		return NL_STOP;
	}
	c->list[c->n++] = listed;
	return NL_OK;
}

static int dump(struct nl_sock *sk, int family, struct collection *c)
{
	struct nl_msg *msg;
	int ret;

	msg = nlmsg_alloc();
	if (!msg)
		return -NLE_NOMEM;
	if (!genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, NLM_F_DUMP, PEERBAR_CMD_BUFFER_GET, PEERBAR_GENL_VERSION))
		ret = -NLE_NOMEM;
	else
		ret = nl_send_auto(sk, msg);
	nlmsg_free(msg);
	if (ret < 0)
		return ret;
	ret = nl_socket_modify_cb(sk, NL_CB_VALID, NL_CB_CUSTOM, collect, c);
	if (!ret)
		ret = nl_recvmsgs_default(sk);
	if (ret >= 0 && c->ret)
		ret = -NLE_NOMEM;
	return ret < 0 ? ret : 0;
}

int pb_list_buffers_sized(struct pb_listed **buffers, size_t size, unsigned int *nr_buffers, struct pb_error *err)
{
	static const char what[] = "list buffers";
	struct collection c = { 0 };
	struct nl_sock *sk;
	int family, ret;

	sk = connect_family(&family, what, &ret, err);
	if (!sk)
		return ret;
	ret = dump(sk, family, &c);
	nl_socket_free(sk);
	if (ret) {
		free_listed(c.list, c.n);
		return nl_failed(ret, what, err);
	}
	*buffers = pb_pack_listed(c.list, c.n, size);
	if (!*buffers)
		return pb_fail_errno(err, ENOMEM, "cannot %s", what);
	*nr_buffers = (unsigned int)c.n;
	return 0;
}

/* ---- events ---- */

struct pb_watch {
	pthread_mutex_t lock;
	struct nl_sock *sk;
	int family;
	size_t at, have; /* in @messages */
	_Alignas(struct nlmsghdr) char messages[16384];
};

const char *pb_event_name(enum pb_event_type type)
{
	switch (type) {
	case PB_EVENT_CREATED:
		return "created";
	case PB_EVENT_REVOKED:
		return "revoked";
	case PB_EVENT_RESTORED:
		return "restored";
	case PB_EVENT_MOVED:
		return "moved";
	case PB_EVENT_RELEASED:
		return "released";
	case PB_EVENT_NONE:
		return "none";
	default:
		return "lost";
	}
}

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
	code[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, n <= MAX_FILTERED ? 0 : UINT32_MAX);
	program = (struct sock_fprog){ .len = (unsigned short)len, .filter = code };
	ret = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ? -errno : 0;
	/* A long program may exceed the socket's memory limit. */
	if (ret && len > nr_head + 1) {
		code[nr_head] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
		program.len = (unsigned short)(nr_head + 1);
		ret = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ? -errno : 0;
	}
	free(code);
	return ret;
}

int pb_watch_only(struct pb_watch *watch, const uint64_t *ids, unsigned int n)
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
	new->sk = connect_family(&new->family, what, &ret, err);
	if (!new->sk)
		goto err_free;
	/* Allow bursts, up to the system's limit; libnl's default is small. */
	nl_socket_set_buffer_size(new->sk, 4 << 20, 0);
	ret = group = genl_ctrl_resolve_grp(new->sk, PEERBAR_GENL_NAME, PEERBAR_GENL_EVENTS);
	if (group >= 0 && silent) {
		ret = pb_watch_only(new, NULL, 0);
		if (ret) {
			ret = pb_fail_errno(err, -ret, "cannot %s (SO_ATTACH_FILTER)", what);
			goto err_socket;
		}
	}
	if (group >= 0)
		ret = nl_socket_add_membership(new->sk, group);
	if (ret < 0) {
		ret = nl_failed(ret, what, err);
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

static bool type_of_event(uint8_t cmd, enum pb_event_type *type)
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
static bool next_received(struct pb_watch *watch, struct pb_event *event)
{
	while (watch->at < watch->have) {
		struct nlmsghdr *head = (struct nlmsghdr *)(watch->messages + watch->at);
		struct genlmsghdr *genl = nlmsg_data(head);

		if (!nlmsg_ok(head, (int)(watch->have - watch->at)))
			break;
		watch->at += NLMSG_ALIGN(head->nlmsg_len);
		if (head->nlmsg_type != watch->family || !genlmsg_valid_hdr(head, 0) || !type_of_event(genl->cmd, &event->type))
			continue;
		if (pb_parse_listed(genlmsg_attrdata(genl, 0), (size_t)genlmsg_attrlen(genl, 0), &event->buffer))
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
static int receive(struct pb_watch *watch)
{
	struct sockaddr_nl from = { 0 };
	socklen_t size = sizeof(from);
	ssize_t n;

	do {
		n = recvfrom(nl_socket_get_fd(watch->sk), watch->messages, sizeof(watch->messages), MSG_DONTWAIT | MSG_TRUNC,
			     (struct sockaddr *)&from, &size);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	if ((size_t)n > sizeof(watch->messages))
		return -ENOBUFS;
	/* Ignore messages that the kernel did not send. */
	watch->have = from.nl_pid ? 0 : (size_t)n;
	return 1;
}

int pb_watch_next_sized(struct pb_watch *watch, struct pb_event *event, size_t size, struct pb_error *err)
{
	struct pb_event next;
	int ret = 1;

	pthread_mutex_lock(&watch->lock);
	while (ret == 1 && !next_received(watch, &next))
		ret = receive(watch);
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
