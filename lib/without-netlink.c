// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The functions that use netlink, in a library that is built without libnl. Guests do without them:
 * they learn of revocations by other processes from pb_guest_check() only.
 */
#include "internal.h"

static int fail_without(const char *what, struct pb_error *err)
{
	return pb_fail(err, EOPNOTSUPP, "cannot %s: this libpeerbar was built without libnl", what);
}

int pb_list_buffers_sized(struct pb_listed **buffers, size_t size, unsigned int *nr_buffers,
			  struct pb_error *err)
{
	(void)buffers;
	(void)size;
	(void)nr_buffers;
	return fail_without("list buffers", err);
}

int pb_list_importers_sized(struct pb_importer **importers, size_t size, unsigned int *nr_importers,
			    struct pb_error *err)
{
	(void)importers;
	(void)size;
	(void)nr_importers;
	return fail_without("list importers", err);
}

int pb_watch_open(struct pb_watch **watch, struct pb_error *err)
{
	*watch = NULL;
	return fail_without("receive the events of buffers", err);
}

int pb_watch_open_silent(struct pb_watch **watch, struct pb_error *err)
{
	return pb_watch_open(watch, err);
}

/* No watch exists. */
int pb_watch_fd(const struct pb_watch *watch)
{
	(void)watch;
	return -1;
}

int pb_watch_set_filter(struct pb_watch *watch, const uint64_t *ids, unsigned int n)
{
	(void)watch;
	(void)ids;
	(void)n;
	return 0;
}

int pb_watch_next_sized(struct pb_watch *watch, struct pb_event *event, size_t size,
			struct pb_error *err)
{
	(void)watch;
	(void)event;
	(void)size;
	return fail_without("receive the events of buffers", err);
}

void pb_watch_close(struct pb_watch *watch)
{
	(void)watch;
}

int pb_rdma_link_add(const char *name, const char *netdev, struct pb_error *err)
{
	(void)name;
	(void)netdev;
	return fail_without("add an RDMA link", err);
}

int pb_rdma_link_delete(const char *name, struct pb_error *err)
{
	(void)name;
	return fail_without("delete an RDMA link", err);
}
