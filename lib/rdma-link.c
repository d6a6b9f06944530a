// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* RDMA links of type peerbar, by the RDMA core's netlink family, as "rdma link" uses it. */
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <rdma/rdma_netlink.h>

#include "internal.h"

#define LINK_TYPE "peerbar"

/* Take the kernel's errno, which libnl would convert to an error of its own. */
static int store_error(struct sockaddr_nl *from, struct nlmsgerr *message, void *arg)
{
	int *error = arg;

	(void)from;
	*error = message->error;
	return NL_STOP;
}

/*
 * Send the message, if it is complete (@made), and wait for the answer; free both. Returns 0 or
 * -errno.
 */
static int send_and_wait(struct nl_sock *sk, struct nl_msg *msg, bool made)
{
	int error = 0;
	int ret;

	ret = made ? nl_socket_modify_err_cb(sk, NL_CB_CUSTOM, store_error, &error) : -NLE_NOMEM;
	if (!ret)
		ret = nl_send_auto(sk, msg);
	if (ret >= 0)
		ret = nl_wait_for_ack(sk);
	nlmsg_free(msg);
	nl_socket_free(sk);
	if (error)
		return error;
	return ret == -NLE_NOMEM ? -ENOMEM : ret < 0 ? -EIO : 0;
}

static struct nl_sock *connect_rdma(struct pb_error *err, int *ret)
{
	struct nl_sock *sk = nl_socket_alloc();

	if (!sk) {
		*ret = pb_fail_errno(err, ENOMEM, "cannot open a netlink socket");
		return NULL;
	}
	if (!nl_connect(sk, NETLINK_RDMA))
		return sk;
	nl_socket_free(sk);
	*ret = pb_fail(err, EPROTONOSUPPORT,
		       "cannot connect to the RDMA core by netlink: the "
		       "kernel has none, or the module ib_core is not loaded: modprobe ib_core");
	return NULL;
}

static struct nl_msg *new_message(int command)
{
	return nlmsg_alloc_simple(RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, command),
				  NLM_F_REQUEST | NLM_F_ACK);
}

static int check_name(const char *name, size_t most, const char *what, struct pb_error *err)
{
	if (!name || !*name || strlen(name) >= most || strpbrk(name, "%/"))
		return pb_fail(err, EINVAL,
			       "'%s' is no name of %s: it takes 1 to %zu characters, without '%%' and '/'",
			       name ? name : "", what, most - 1);
	return 0;
}

#define DEVICE_NAME_MAX 64
#define NETDEV_NAME_MAX 16

int pb_rdma_link_add(const char *name, const char *netdev, struct pb_error *err)
{
	struct nl_sock *sk;
	struct nl_msg *msg;
	int ret;

	ret = check_name(name, DEVICE_NAME_MAX, "an RDMA device", err);
	if (!ret)
		ret = check_name(netdev, NETDEV_NAME_MAX, "a network device", err);
	if (ret)
		return ret;
	sk = connect_rdma(err, &ret);
	if (!sk)
		return ret;
	msg = new_message(RDMA_NLDEV_CMD_NEWLINK);
	ret = send_and_wait(sk, msg,
			    msg && !nla_put_string(msg, RDMA_NLDEV_ATTR_DEV_NAME, name) &&
				    !nla_put_string(msg, RDMA_NLDEV_ATTR_LINK_TYPE, LINK_TYPE) &&
				    !nla_put_string(msg, RDMA_NLDEV_ATTR_NDEV_NAME, netdev));
	switch (-ret) {
	case 0:
		return 0;
	case EPERM:
		return pb_fail(err, EPERM,
			       "cannot make the RDMA device '%s': that needs CAP_NET_ADMIN", name);
	case ENODEV:
		return pb_fail(err, ENODEV,
			       "cannot make the RDMA device '%s': there is no network device '%s'",
			       name, netdev);
	case EINVAL:
		return pb_fail(err, EINVAL,
			       "cannot make the RDMA device '%s': the kernel knows no links of type '" LINK_TYPE
			       "'; this needs the "
			       "kernel module peerbar-rdma: modprobe peerbar-rdma",
			       name);
	case EEXIST:
	case ENFILE:
		return pb_fail(err, EEXIST,
			       "cannot make the RDMA device '%s' on '%s': there is one of that name, or of that type on it",
			       name, netdev);
	case EOPNOTSUPP:
		return pb_fail(err, EOPNOTSUPP,
			       "cannot make the RDMA device '%s' on '%s': it takes an Ethernet device with a PCI function behind "
			       "it, whose DMA identity it gets",
			       name, netdev);
	default:
		return pb_fail_errno(err, -ret, "cannot make the RDMA device '%s' on '%s'", name,
				     netdev);
	}
}

struct search {
	const char *name;
	bool found;
	uint32_t index;
};

static int match_device(struct nl_msg *msg, void *arg)
{
	struct nlattr *tb[RDMA_NLDEV_ATTR_MAX] = { NULL };
	struct search *search = arg;

	if (nlmsg_parse(nlmsg_hdr(msg), 0, tb, RDMA_NLDEV_ATTR_MAX - 1, NULL) ||
	    !tb[RDMA_NLDEV_ATTR_DEV_NAME] || !tb[RDMA_NLDEV_ATTR_DEV_INDEX] ||
	    nla_len(tb[RDMA_NLDEV_ATTR_DEV_INDEX]) < (int)sizeof(uint32_t))
		return NL_OK;
	if (nla_strcmp(tb[RDMA_NLDEV_ATTR_DEV_NAME], search->name))
		return NL_OK;
	search->found = true;
	search->index = nla_get_u32(tb[RDMA_NLDEV_ATTR_DEV_INDEX]);
	return NL_OK;
}

static int find_index(struct nl_sock *sk, struct search *search)
{
	int ret;

	ret = nl_send_simple(sk, RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, RDMA_NLDEV_CMD_GET),
			     NLM_F_REQUEST | NLM_F_DUMP, NULL, 0);
	if (ret >= 0)
		ret = nl_socket_modify_cb(sk, NL_CB_VALID, NL_CB_CUSTOM, match_device, search);
	if (ret >= 0)
		ret = nl_recvmsgs_default(sk);
	nl_socket_modify_cb(sk, NL_CB_VALID, NL_CB_DEFAULT, NULL, NULL);
	return ret < 0 ? -EIO : 0;
}

int pb_rdma_link_delete(const char *name, struct pb_error *err)
{
	struct search search = { .name = name };
	struct nl_sock *sk;
	struct nl_msg *msg;
	int ret;

	ret = check_name(name, DEVICE_NAME_MAX, "an RDMA device", err);
	if (ret)
		return ret;
	sk = connect_rdma(err, &ret);
	if (!sk)
		return ret;
	ret = find_index(sk, &search);
	if (ret || !search.found) {
		nl_socket_free(sk);
		if (ret)
			return pb_fail_errno(err, -ret, "cannot list RDMA devices");
		return pb_fail(err, ENODEV,
			       "cannot remove the RDMA device '%s': there is none of that name",
			       name);
	}
	msg = new_message(RDMA_NLDEV_CMD_DELLINK);
	ret = send_and_wait(sk, msg,
			    msg && !nla_put_u32(msg, RDMA_NLDEV_ATTR_DEV_INDEX, search.index));
	switch (-ret) {
	case 0:
		return 0;
	case EPERM:
		return pb_fail(err, EPERM,
			       "cannot remove the RDMA device '%s': that needs CAP_NET_ADMIN",
			       name);
	case EINVAL:
		return pb_fail(err, EINVAL,
			       "cannot remove the RDMA device '%s': it is gone, or was not made by a link",
			       name);
	default:
		return pb_fail_errno(err, -ret, "cannot remove the RDMA device '%s'", name);
	}
}
