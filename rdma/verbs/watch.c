// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Notification of revocations. There are two sources: the kernel module peerbar reports buffers, by
 * netlink; peerbar's own device reports its regions. For an event of a buffer, query the state of
 * each of its regions, since the event may be older than the region.
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "internal.h"

TAILQ_HEAD(mr_list, pbv_mr);

struct pbv_watch {
	atomic_uint refs;
	struct ibv_context *context;
	struct pb_watch *events; /* NULL without the module */
	struct pbv_direct direct;
	bool own; /* peerbar's own device */
	int epoll_fd;
	int waiting_fd; /* an eventfd, readable while @queue is not empty */
	pthread_mutex_t lock;
	struct mr_list mrs;
	struct mr_list queue;
};

static void put_watch(struct pbv_watch *watch)
{
	if (atomic_fetch_sub(&watch->refs, 1) > 1)
		return;
	pthread_mutex_destroy(&watch->lock);
	free(watch);
}

/* Call with the lock held. */
static void enqueue(struct pbv_watch *watch, struct pbv_mr *mr)
{
	uint64_t one = 1;
	ssize_t n;

	if (mr->told)
		return;
	mr->told = true;
	mr->queued = true;
	TAILQ_INSERT_TAIL(&watch->queue, mr, in_queue);
	do {
		n = write(watch->waiting_fd, &one, sizeof(one));
	} while (n < 0 && errno == EINTR);
}

/* Call with the lock held. */
static void dequeue(struct pbv_watch *watch, struct pbv_mr *mr)
{
	uint64_t count;
	ssize_t n;

	TAILQ_REMOVE(&watch->queue, mr, in_queue);
	mr->queued = false;
	if (!TAILQ_EMPTY(&watch->queue))
		return;
	do {
		n = read(watch->waiting_fd, &count, sizeof(count));
	} while (n < 0 && errno == EINTR);
}

/* Call with the lock held. */
static void remove_region(struct pbv_watch *watch, struct pbv_mr *mr)
{
	if (mr->queued)
		dequeue(watch, mr);
	TAILQ_REMOVE(&watch->mrs, mr, in_watch);
	/* Must be last: the region may be freed now. */
	pthread_mutex_lock(&mr->watch_lock);
	mr->watch = NULL;
	pthread_mutex_unlock(&mr->watch_lock);
}

/*
 * Enqueue the revoked regions of the buffer @list_id, or of all buffers. Call with the lock held.
 */
static void check_region(struct pbv_watch *watch, bool all, uint64_t list_id)
{
	struct pbv_mr *mr;

	TAILQ_FOREACH(mr, &watch->mrs, in_watch)
		if (mr->counted && (all || mr->list_id == list_id) && !mr->told &&
		    pbv_mr_state(mr) == PBV_REVOKED)
			enqueue(watch, mr);
}

static int collect_events(struct pbv_watch *watch, struct pb_error *err)
{
	struct pb_event event;
	int ret;

	while (!(ret = pb_watch_next(watch->events, &event, err)) && event.type != PB_EVENT_NONE) {
		if (event.type == PB_EVENT_REVOKED)
			check_region(watch, false, event.buffer.id);
		else if (event.type == PB_EVENT_LOST)
			check_region(watch, true, 0);
	}
	return ret;
}

static int collect_keys(struct pbv_watch *watch, struct pb_error *err)
{
	struct pbv_mr *mr;
	uint32_t lkey;
	int ret;

	do {
		while ((ret = watch->direct.next_revoked(watch->context, &lkey)) > 0) {
			TAILQ_FOREACH(mr, &watch->mrs, in_watch) {
				if (mr->lkey == lkey && !mr->told) {
					atomic_store(&mr->revoked, true);
					enqueue(watch, mr);
				}
			}
		}
		/* Keys were lost: report every region that is not known to be live. */
		if (ret == -EOVERFLOW)
			TAILQ_FOREACH(mr, &watch->mrs, in_watch)
				if (!mr->told && pbv_mr_state(mr) != PBV_LIVE)
					enqueue(watch, mr);
	} while (ret == -EOVERFLOW);
	if (!ret)
		return 0;
	return pbv_fail_errno(err, -ret, "cannot query %s for revoked regions",
			      ibv_get_device_name(watch->context->device));
}

struct pbv_watch *pbv_watch_hold(struct pbv_mr *mr)
{
	struct pbv_watch *watch;

	pthread_mutex_lock(&mr->watch_lock);
	watch = mr->watch;
	if (watch)
		atomic_fetch_add(&watch->refs, 1);
	pthread_mutex_unlock(&mr->watch_lock);
	if (!watch)
		return NULL;
	pthread_mutex_lock(&watch->lock);
	/* Its close may have removed the region meanwhile. */
	if (mr->watch == watch)
		return watch;
	pthread_mutex_unlock(&watch->lock);
	put_watch(watch);
	return NULL;
}

void pbv_watch_release(struct pbv_watch *watch, struct pbv_mr *mr, bool gone)
{
	if (!watch)
		return;
	if (gone) {
		/*
		 * The device may reuse its key for another region. Drain the device's reports of
		 * the old one first.
		 */
		mr->told = true;
		if (watch->own)
			collect_keys(watch, NULL);
		remove_region(watch, mr);
	}
	pthread_mutex_unlock(&watch->lock);
	/* The reference of the region, and that of the hold */
	if (gone)
		put_watch(watch);
	put_watch(watch);
}

static int add_fd(struct pbv_watch *watch, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(watch->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

int pbv_watch_open(struct ibv_context *context, struct pbv_watch **watch, struct pb_error *err)
{
	const char *name = ibv_get_device_name(context->device);
	struct pb_error events_err = { 0 };
	struct pbv_watch *created;
	int ret;

	created = calloc(1, sizeof(*created));
	if (!created)
		return pbv_fail_errno(err, ENOMEM, "cannot watch the regions of %s", name);
	atomic_init(&created->refs, 1);
	pthread_mutex_init(&created->lock, NULL);
	created->context = context;
	TAILQ_INIT(&created->mrs);
	TAILQ_INIT(&created->queue);
	created->waiting_fd = -1;
	created->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (created->epoll_fd >= 0)
		created->waiting_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (created->waiting_fd < 0) {
		ret = pbv_fail_errno(err, errno, "cannot watch the regions of %s: no descriptor",
				     name);
		goto err_close;
	}
	ret = pb_watch_open(&created->events, &events_err);
	created->own = pbv_direct_open(&created->direct, context);
	if (ret && !created->own) {
		ret = ret == -ENOENT ?
			pbv_fail(err, EOPNOTSUPP,
				 "cannot watch the regions of %s: nothing would "
				 "report them, since the kernel module peerbar is not loaded, and "
				 "%s is not peerbar's own device; modprobe peerbar",
				 name, name) :
			pbv_fail(err, -ret, "cannot watch the regions of %s: %.300s", name,
				 events_err.text);
		goto err_close;
	}
	ret = add_fd(created, created->waiting_fd);
	if (!ret && created->events)
		ret = add_fd(created, pb_watch_fd(created->events));
	if (!ret && created->own)
		ret = add_fd(created, created->direct.revocation_fd(context));
	if (ret) {
		pbv_fail_errno(err, -ret, "cannot watch the regions of %s (epoll_ctl)", name);
		goto err_close;
	}
	*watch = created;
	return 0;

err_close:
	pbv_watch_close(created);
	return ret;
}

int pbv_watch_add(struct pbv_watch *watch, struct pbv_mr *mr, struct pb_error *err)
{
	const char *name = ibv_get_device_name(watch->context->device);
	bool watched;

	if (mr->verbs->context != watch->context)
		return pbv_fail(err, EXDEV,
				"cannot watch a region of %s with a watch of another context, of %s",
				ibv_get_device_name(mr->verbs->context->device), name);
	if (mr->buffer && mr->model != PB_PINNED && !watch->own && !(watch->events && mr->counted))
		return pbv_fail(err, EOPNOTSUPP,
				"cannot watch a region of %s: nothing would "
				"report it, since its buffer was not exported through peerbar's "
				"kernel modules, and %s is not peerbar's own device",
				name, name);
	pthread_mutex_lock(&watch->lock);
	pthread_mutex_lock(&mr->watch_lock);
	watched = mr->watch;
	if (!watched)
		mr->watch = watch;
	pthread_mutex_unlock(&mr->watch_lock);
	if (watched) {
		pthread_mutex_unlock(&watch->lock);
		return pbv_fail(err, EBUSY, "cannot watch a region of %s twice", name);
	}
	atomic_fetch_add(&watch->refs, 1);
	mr->told = false;
	TAILQ_INSERT_TAIL(&watch->mrs, mr, in_watch);
	/* Report revocations since the registration. */
	if (watch->own)
		collect_keys(watch, NULL);
	if (pbv_mr_state(mr) == PBV_REVOKED)
		enqueue(watch, mr);
	pthread_mutex_unlock(&watch->lock);
	return 0;
}

int pbv_watch_fd(const struct pbv_watch *watch)
{
	return watch->epoll_fd;
}

int pbv_next_revoked(struct pbv_watch *watch, struct pbv_mr **mr, struct pb_error *err)
{
	struct pb_error keys_err, events_err;
	int ret = 0, ret_keys = 0;
	struct pbv_mr *first;

	pthread_mutex_lock(&watch->lock);
	if (TAILQ_EMPTY(&watch->queue)) {
		/* An error of one source must not hide reports of the other. */
		if (watch->own)
			ret_keys = collect_keys(watch, &keys_err);
		if (watch->events)
			ret = collect_events(watch, &events_err);
	}
	first = TAILQ_FIRST(&watch->queue);
	if (first)
		dequeue(watch, first);
	pthread_mutex_unlock(&watch->lock);
	if (!first && (ret || ret_keys)) {
		if (err)
			*err = ret ? events_err : keys_err;
		return ret ? ret : ret_keys;
	}
	*mr = first;
	return 0;
}

void pbv_watch_close(struct pbv_watch *watch)
{
	struct pbv_mr *mr;

	if (!watch)
		return;
	pthread_mutex_lock(&watch->lock);
	while ((mr = TAILQ_FIRST(&watch->mrs))) {
		remove_region(watch, mr);
		atomic_fetch_sub(&watch->refs, 1);
	}
	pthread_mutex_unlock(&watch->lock);
	pb_watch_close(watch->events);
	if (watch->own)
		pbv_direct_close(&watch->direct);
	if (watch->waiting_fd >= 0)
		close(watch->waiting_fd);
	if (watch->epoll_fd >= 0)
		close(watch->epoll_fd);
	put_watch(watch);
}
