// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The list of the buffers of all processes, by netlink. */
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>

#include "internal.h"
#include "netlink.h"

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
	char(*name)[PB_NAME_LEN];
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
	name = (char(*)[PB_NAME_LEN])(extents + e);
	for (i = 0; i < n; i++) {
		struct pb_listed one = list[i];

		one.extents = list[i].nr_extents ? extents : NULL;
		one.importer_names = list[i].nr_importer_names ? name : NULL;
		pb_fill_sized(packed + i * element, element, &one, sizeof(one));
		if (list[i].nr_extents)
			memcpy(extents, list[i].extents, list[i].nr_extents * sizeof(*extents));
		if (list[i].nr_importer_names)
			memcpy(name, list[i].importer_names,
			       list[i].nr_importer_names * sizeof(*name));
		extents += list[i].nr_extents;
		name += list[i].nr_importer_names;
	}
out:
	free_listed(list, n);
	return (struct pb_listed *)packed;
}

struct collection {
	struct pb_listed *list;
	size_t n, room;
	int ret;
};

static int add_buffer(struct nl_msg *msg, void *arg)
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

int pb_list_buffers_sized(struct pb_listed **buffers, size_t size, unsigned int *nr_buffers,
			  struct pb_error *err)
{
	static const char what[] = "list buffers";
	struct collection c = { 0 };
	struct nl_sock *sk;
	int family, ret;

	sk = pb_netlink_connect(&family, what, &ret, err);
	if (!sk)
		return ret;
	do {
		free_listed(c.list, c.n);
		memset(&c, 0, sizeof(c));
		ret = pb_netlink_dump(sk, family, PEERBAR_CMD_BUFFER_GET, add_buffer, &c);
	} while (ret == -NLE_INTR);
	nl_socket_free(sk);
	if (!ret && c.ret)
		ret = -NLE_NOMEM;
	if (ret) {
		free_listed(c.list, c.n);
		return pb_fail_netlink(ret, what, err);
	}
	*buffers = pb_pack_listed(c.list, c.n, size);
	if (!*buffers)
		return pb_fail_errno(err, ENOMEM, "cannot %s", what);
	*nr_buffers = (unsigned int)c.n;
	return 0;
}
