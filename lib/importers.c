// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The importers of buffers: of a descriptor by /dev/peerbar, of all buffers by netlink. */
#ifdef HAVE_LIBNL
#include <netlink/attr.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#endif

#include "internal.h"
#ifdef HAVE_LIBNL
#include "netlink.h"
#endif

_Static_assert(sizeof(((struct peerbar_importer *)0)->device) <= PB_NAME_LEN &&
		       sizeof(((struct peerbar_importer *)0)->driver) <= PB_NAME_LEN &&
		       sizeof(((struct peerbar_fence *)0)->driver) <= PB_NAME_LEN &&
		       sizeof(((struct peerbar_fence *)0)->timeline) <= PB_NAME_LEN,
	       "names");

/* ---- elements ---- */

static void copy_name(char to[PB_NAME_LEN], const char *from, size_t size)
{
	size_t n = strnlen(from, size < PB_NAME_LEN ? size : PB_NAME_LEN - 1);

	memcpy(to, from, n);
	to[n] = '\0';
}

/* Returns the time from @then to @now; 0 if @then is 0. */
static uint64_t get_age(uint64_t now, uint64_t then)
{
	return then && now > then ? now - then : 0;
}

static void set_waited_for(struct pb_importer *importer, bool waited_for, uint64_t now,
			   uint64_t revoked)
{
	importer->waited_for = waited_for;
	importer->waited_ns = waited_for ? get_age(now, revoked) : 0;
}

void pb_importer_from_device(struct pb_importer *to, const struct peerbar_importer *from,
			     enum pb_buffer_state state, uint64_t now, uint64_t revoked)
{
	*to = (struct pb_importer){
		.kind = PB_IMPORTER_DEVICE,
		.state = state,
		.id = from->id,
		.bytes = from->bytes,
		.nr_maps = from->maps,
		.addresses = from->flags & PEERBAR_IMPORTER_ADDRESSES,
		.revocable = from->flags & PEERBAR_IMPORTER_REVOCABLE,
		.pinned = from->flags & PEERBAR_IMPORTER_PINNED,
		.attached_ns = get_age(now, from->attached_ns),
		.mapped_ns = get_age(now, from->mapped_ns),
	};
	copy_name(to->device, from->device, sizeof(from->device));
	copy_name(to->driver, from->driver, sizeof(from->driver));
	set_waited_for(to, from->flags & PEERBAR_IMPORTER_WAITED_FOR, now, revoked);
}

void pb_importer_from_fence(struct pb_importer *to, const struct peerbar_fence *from,
			    enum pb_buffer_state state, uint64_t now, uint64_t revoked)
{
	*to = (struct pb_importer){
		.kind = PB_IMPORTER_FENCE,
		.state = state,
		.id = from->seqno,
		.context = from->context,
	};
	copy_name(to->driver, from->driver, sizeof(from->driver));
	copy_name(to->timeline, from->timeline, sizeof(from->timeline));
	set_waited_for(to, state == PB_BUFFER_REVOKED || state == PB_BUFFER_DEAD, now, revoked);
}

/* ---- by descriptor ---- */

/* One ioctl, with room for as many elements as the request says; frees nothing. */
static int query_importers(int module, int fd, struct peerbar_importers *request)
{
	request->size = sizeof(*request);
	request->fd = fd;
	request->flags = 0;
	request->importer_size = sizeof(struct peerbar_importer);
	request->fence_size = sizeof(struct peerbar_fence);
	return pb_ioctl(module, PEERBAR_IMPORTERS, request);
}

static unsigned int least(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

/* Whether an array of @room elements got @existing ones, or as many as the kernel fills in. */
static bool fits(unsigned int existing, unsigned int room)
{
	return existing <= room || room == PEERBAR_IMPORTERS_MAX;
}

/* The elements may become more between two calls: repeat until all fit. */
static int query_all_importers(int module, int fd, struct peerbar_importers *request)
{
	unsigned int importers = 16, fences = 16;
	int ret;

	for (;;) {
		struct peerbar_importer *first = calloc(importers, sizeof(*first));
		struct peerbar_fence *second = calloc(fences, sizeof(*second));

		*request = (struct peerbar_importers){ .nr_importers = importers,
						       .nr_fences = fences,
						       .importers = (uintptr_t)first,
						       .fences = (uintptr_t)second };
		ret = first && second ? query_importers(module, fd, request) : -ENOMEM;
		if (!ret && fits(request->nr_importers, importers) &&
		    fits(request->nr_fences, fences)) {
			request->nr_importers = least(request->nr_importers, importers);
			request->nr_fences = least(request->nr_fences, fences);
			return 0;
		}
		free(first);
		free(second);
		if (ret)
			return ret;
		importers = least(request->nr_importers + 1, PEERBAR_IMPORTERS_MAX);
		fences = least(request->nr_fences + 1, PEERBAR_IMPORTERS_MAX);
	}
}

static int fail_importers(int fd, int ret, struct pb_error *err)
{
	switch (ret) {
	case -EBADF:
		return pb_fail(err, EBADF, "descriptor %d is not open; pass one of a dma-buf", fd);
	case -EINVAL:
		return pb_fail(err, EINVAL, "descriptor %d is no dma-buf", fd);
	case -EOPNOTSUPP:
		return pb_fail(err, EOPNOTSUPP,
			       "cannot list the importers of the dma-buf in descriptor %d: it was "
			       "not exported through peerbar's modules",
			       fd);
	case -ENOTTY:
		return pb_fail(err, EOPNOTSUPP,
			       "cannot list the importers of the dma-buf in descriptor %d: the "
			       "kernel module peerbar is too old; load a newer one",
			       fd);
	default:
		return pb_fail_errno(err, -ret,
				     "cannot list the importers of the dma-buf in descriptor %d "
				     "(PEERBAR_IMPORTERS)",
				     fd);
	}
}

int pb_fd_importers_sized(int fd, struct pb_importer **importers, size_t size,
			  unsigned int *nr_importers, struct pb_error *err)
{
	struct peerbar_importers request;
	struct pb_importer *list;
	unsigned int i, n = 0;
	int module, ret;

	module = pb_open_module();
	if (module == -ENOENT)
		return pb_fail(err, ENOENT,
			       "cannot list importers: there is no /dev/peerbar; this needs the "
			       "kernel module peerbar: modprobe peerbar");
	if (module < 0)
		return pb_fail_errno(err, -module,
				     "cannot list importers: cannot open /dev/peerbar");
	ret = query_all_importers(module, fd, &request);
	close(module);
	if (ret)
		return fail_importers(fd, ret, err);
	list = calloc((size_t)request.nr_importers + request.nr_fences + 1, sizeof(*list));
	for (i = 0; list && i < request.nr_importers; i++)
		pb_importer_from_device(&list[n++],
					(struct peerbar_importer *)(uintptr_t)request.importers + i,
					(enum pb_buffer_state)request.state, request.now_ns,
					request.revoked_ns);
	for (i = 0; list && i < request.nr_fences; i++)
		pb_importer_from_fence(&list[n++],
				       (struct peerbar_fence *)(uintptr_t)request.fences + i,
				       (enum pb_buffer_state)request.state, request.now_ns,
				       request.revoked_ns);
	for (i = 0; i < n; i++)
		list[i].list_id = request.id;
	free((void *)(uintptr_t)request.importers);
	free((void *)(uintptr_t)request.fences);
	*importers = list ? pb_array_sized(list, sizeof(*list), n, size) : NULL;
	free(list);
	if (!*importers)
		return pb_fail_errno(err, ENOMEM, "cannot list importers");
	*nr_importers = n;
	return 0;
}

#ifdef HAVE_LIBNL

/* ---- all, by netlink ---- */

static void parse_attachment(struct nlattr *nest, struct peerbar_importer *importer)
{
	struct nlattr *a;
	int rest;

	memset(importer, 0, sizeof(*importer));
	nla_for_each_nested(a, nest, rest) {
		switch (nla_type(a)) {
		case PEERBAR_A_ATTACHMENT_ID:
			importer->id = pb_nla_u64(a);
			break;
		case PEERBAR_A_ATTACHMENT_DEVICE:
			pb_nla_text(a, importer->device, sizeof(importer->device));
			break;
		case PEERBAR_A_ATTACHMENT_DRIVER:
			pb_nla_text(a, importer->driver, sizeof(importer->driver));
			break;
		case PEERBAR_A_ATTACHMENT_FLAGS:
			importer->flags = pb_nla_u32(a);
			break;
		case PEERBAR_A_ATTACHMENT_MAPS:
			importer->maps = pb_nla_u32(a);
			break;
		case PEERBAR_A_ATTACHMENT_BYTES:
			importer->bytes = pb_nla_u64(a);
			break;
		case PEERBAR_A_ATTACHMENT_ATTACHED_NS:
			importer->attached_ns = pb_nla_u64(a);
			break;
		case PEERBAR_A_ATTACHMENT_MAPPED_NS:
			importer->mapped_ns = pb_nla_u64(a);
			break;
		}
	}
}

static void parse_fence(struct nlattr *nest, struct peerbar_fence *fence)
{
	struct nlattr *a;
	int rest;

	memset(fence, 0, sizeof(*fence));
	nla_for_each_nested(a, nest, rest) {
		switch (nla_type(a)) {
		case PEERBAR_A_FENCE_DRIVER:
			pb_nla_text(a, fence->driver, sizeof(fence->driver));
			break;
		case PEERBAR_A_FENCE_TIMELINE:
			pb_nla_text(a, fence->timeline, sizeof(fence->timeline));
			break;
		case PEERBAR_A_FENCE_CONTEXT:
			fence->context = pb_nla_u64(a);
			break;
		case PEERBAR_A_FENCE_SEQNO:
			fence->seqno = pb_nla_u64(a);
			break;
		}
	}
}

static struct pb_importer *add_element(struct pb_importer_list *list)
{
	if (list->n == list->room) {
		size_t room = list->room ? 2 * list->room : 16;
		struct pb_importer *more = reallocarray(list->list, room, sizeof(*more));

		if (!more)
			return NULL;
		list->list = more;
		list->room = room;
	}
	return &list->list[list->n++];
}

int pb_parse_importers(const void *attributes, size_t length, struct pb_importer_list *list)
{
	uint64_t id = 0, now = 0, revoked = 0;
	enum pb_buffer_state state = PB_BUFFER_UNKNOWN;
	char name[PB_NAME_LEN] = "";
	size_t first = list->n;
	struct nlattr *a;
	int rest;

	/* The order of attributes is not part of the interface: those of the buffer first. */
	nla_for_each_attr(a, (struct nlattr *)attributes, (int)length, rest) {
		switch (nla_type(a)) {
		case PEERBAR_A_ID:
			id = pb_nla_u64(a);
			break;
		case PEERBAR_A_NAME:
			pb_nla_text(a, name, sizeof(name));
			break;
		case PEERBAR_A_STATE:
			state = (enum pb_buffer_state)pb_nla_u32(a);
			break;
		case PEERBAR_A_REVOKED_NS:
			revoked = pb_nla_u64(a);
			break;
		case PEERBAR_A_NOW_NS:
			now = pb_nla_u64(a);
			break;
		}
	}
	if (!id)
		return -EBADMSG;
	nla_for_each_attr(a, (struct nlattr *)attributes, (int)length, rest) {
		struct peerbar_importer importer;
		struct peerbar_fence fence;
		struct pb_importer *new;

		if (nla_type(a) != PEERBAR_A_ATTACHMENT && nla_type(a) != PEERBAR_A_FENCE)
			continue;
		new = add_element(list);
		if (!new)
			return -ENOMEM;
		if (nla_type(a) == PEERBAR_A_ATTACHMENT) {
			parse_attachment(a, &importer);
			pb_importer_from_device(new, &importer, state, now, revoked);
		} else {
			parse_fence(a, &fence);
			pb_importer_from_fence(new, &fence, state, now, revoked);
		}
	}
	for (; first < list->n; first++) {
		list->list[first].list_id = id;
		memcpy(list->list[first].buffer, name, sizeof(name));
	}
	return 0;
}

static int add_message(struct nl_msg *msg, void *arg)
{
	struct genlmsghdr *head = nlmsg_data(nlmsg_hdr(msg));
	struct pb_importer_list *list = arg;

	if (pb_parse_importers(genlmsg_attrdata(head, 0), (size_t)genlmsg_attrlen(head, 0), list) !=
	    -ENOMEM)
		return NL_OK;
	list->ret = -ENOMEM;
	return NL_STOP;
}

int pb_list_importers_sized(struct pb_importer **importers, size_t size, unsigned int *nr_importers,
			    struct pb_error *err)
{
	static const char what[] = "list importers";
	struct pb_importer_list list = { 0 };
	struct nl_sock *sk;
	int family, ret;

	sk = pb_netlink_connect(&family, what, &ret, err);
	if (!sk)
		return ret;
	do {
		free(list.list);
		memset(&list, 0, sizeof(list));
		ret = pb_netlink_dump(sk, family, PEERBAR_CMD_IMPORTERS_GET, add_message, &list);
	} while (ret == -NLE_INTR);
	nl_socket_free(sk);
	if (!ret && list.ret)
		ret = -NLE_NOMEM;
	if (ret) {
		free(list.list);
		if (ret == -NLE_PERM)
			return pb_fail(err, EPERM,
				       "cannot list importers: that needs CAP_SYS_ADMIN");
		if (ret == -NLE_OPNOTSUPP)
			return pb_fail(err, EOPNOTSUPP,
				       "cannot list importers: the kernel module peerbar is too "
				       "old; load a newer one");
		return pb_fail_netlink(ret, what, err);
	}
	*importers = pb_array_sized(list.list, sizeof(*list.list), list.n, size);
	free(list.list);
	if (!*importers)
		return pb_fail_errno(err, ENOMEM, "cannot %s", what);
	*nr_importers = (unsigned int)list.n;
	return 0;
}

#endif
