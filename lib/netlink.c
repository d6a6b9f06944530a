// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The generic netlink family "peerbar": its attributes, and a socket connected to it. */
#include <netlink/attr.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include "internal.h"
#include "netlink.h"

/* ---- messages ---- */

uint64_t pb_nla_u64(const struct nlattr *a)
{
	return nla_len(a) >= (int)sizeof(uint64_t) ? nla_get_u64(a) : 0;
}

uint32_t pb_nla_u32(const struct nlattr *a)
{
	return nla_len(a) >= (int)sizeof(uint32_t) ? nla_get_u32(a) : 0;
}

void pb_nla_text(const struct nlattr *a, char *to, size_t size)
{
	size_t n = strnlen(nla_data(a), (size_t)nla_len(a));

	if (n >= size)
		n = size - 1;
	memcpy(to, nla_data(a), n);
	to[n] = '\0';
}

static int add_extent(struct pb_listed *listed, struct nlattr *range)
{
	struct pb_extent *more, extent = { 0 };
	struct nlattr *a;
	int rest;

	nla_for_each_nested(a, range, rest) {
		if (nla_type(a) == PEERBAR_A_RANGE_START)
			extent.start = pb_nla_u64(a);
		else if (nla_type(a) == PEERBAR_A_RANGE_LENGTH)
			extent.length = pb_nla_u64(a);
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
	char(*more)[PB_NAME_LEN];

	more = reallocarray(listed->importer_names, listed->nr_importer_names + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	pb_nla_text(name, more[listed->nr_importer_names++], PB_NAME_LEN);
	listed->importer_names = more;
	return 0;
}

/* Ignore unknown attributes, of newer kernel modules. */
static int take_attribute(struct pb_listed *listed, struct nlattr *a)
{
	switch (nla_type(a)) {
	case PEERBAR_A_ID:
		listed->id = pb_nla_u64(a);
		break;
	case PEERBAR_A_EXPORTER:
		pb_nla_text(a, listed->exporter, PB_NAME_LEN);
		break;
	case PEERBAR_A_DEVICE:
		pb_nla_text(a, listed->device, PB_NAME_LEN);
		break;
	case PEERBAR_A_NAME:
		pb_nla_text(a, listed->name, PB_NAME_LEN);
		break;
	case PEERBAR_A_SIZE:
		listed->size = pb_nla_u64(a);
		break;
	case PEERBAR_A_MODEL:
		listed->model = (enum pb_model)pb_nla_u32(a);
		break;
	case PEERBAR_A_STATE:
		listed->state = (enum pb_buffer_state)pb_nla_u32(a);
		break;
	case PEERBAR_A_MEMATTR:
		listed->memattr = (enum pb_memattr)pb_nla_u32(a);
		break;
	case PEERBAR_A_NR_RANGES:
		listed->nr_ranges = pb_nla_u32(a);
		break;
	case PEERBAR_A_NR_IMPORTERS:
		listed->nr_importers = pb_nla_u32(a);
		break;
	case PEERBAR_A_NR_MMAPS:
		listed->nr_mmaps = pb_nla_u32(a);
		break;
	case PEERBAR_A_CAN_PIN:
		listed->can_pin = (enum pb_answer)pb_nla_u32(a);
		break;
	case PEERBAR_A_CAN_REVOKE:
		listed->can_revoke = (enum pb_answer)pb_nla_u32(a);
		break;
	case PEERBAR_A_PLACE:
		listed->place = (enum pb_place)pb_nla_u32(a);
		break;
	case PEERBAR_A_BAR:
		listed->bar = pb_nla_u32(a);
		break;
	case PEERBAR_A_BAR_OFFSET:
		listed->bar_offset = pb_nla_u64(a);
		break;
	case PEERBAR_A_CREATOR:
		listed->creator = pb_nla_u32(a);
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

int pb_fail_netlink(int error, const char *what, struct pb_error *err)
{
	int code = nl_errno(error);

	if (code == ENOENT)
		return pb_fail(err, ENOENT,
			       "cannot %s: there is no netlink family '" PEERBAR_GENL_NAME
			       "'; this needs the kernel module "
			       "peerbar: modprobe peerbar",
			       what);
	return pb_fail(err, code, "cannot %s: netlink fails with '%s'", what, nl_geterror(error));
}

struct nl_sock *pb_netlink_connect(int *family, const char *what, int *ret, struct pb_error *err)
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
	*ret = pb_fail_netlink(*ret, what, err);
	return NULL;
}

/* The end of a dump. An error that the kernel meets after the first message is only in here. */
static int take_end(struct nl_msg *msg, void *arg)
{
	int *error = arg;

	if (nlmsg_datalen(nlmsg_hdr(msg)) >= (int)sizeof(*error))
		memcpy(error, nlmsg_data(nlmsg_hdr(msg)), sizeof(*error));
	return NL_OK;
}

int pb_netlink_dump(struct nl_sock *sk, int family, uint8_t command, nl_recvmsg_msg_cb_t take,
		    void *arg)
{
	struct nl_msg *msg;
	int ret, error = 0;

	msg = nlmsg_alloc();
	if (!msg)
		return -NLE_NOMEM;
	if (!genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, NLM_F_DUMP, command,
			 PEERBAR_GENL_VERSION))
		ret = -NLE_NOMEM;
	else
		ret = nl_send_auto(sk, msg);
	nlmsg_free(msg);
	if (ret < 0)
		return ret;
	ret = nl_socket_modify_cb(sk, NL_CB_VALID, NL_CB_CUSTOM, take, arg);
	if (!ret)
		ret = nl_socket_modify_cb(sk, NL_CB_FINISH, NL_CB_CUSTOM, take_end, &error);
	if (!ret)
		ret = nl_recvmsgs_default(sk);
	if (ret < 0)
		return ret;
	return error < 0 ? -nl_syserr2nlerr(error) : 0;
}
