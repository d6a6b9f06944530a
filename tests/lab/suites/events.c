// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The list of buffers and their events: contents, order, access rights, namespaces; and unloading
 * of unused modules.
 */
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "modules.h"
#include "testmod.h"

static struct pb_watch *watch;

static void events_up(void)
{
	modules_up();
	ok(pb_watch_open(&watch, &err));
}

static void events_down(void)
{
	pb_watch_close(watch);
	modules_down();
}

/* Events follow the change with a delay. @err has the reason if the watch fails. */
static bool wait_event(struct pb_watch *from, struct pb_event *event, struct pb_error *err)
{
	struct pollfd p = { .fd = pb_watch_fd(from), .events = POLLIN };

	for (;;) {
		if (pb_watch_next(from, event, err))
			return false;
		if (event->type != PB_EVENT_NONE)
			return true;
		if (poll(&p, 1, 20000) != 1)
			return false;
	}
}

/* Wait for the next event, and check its type and buffer. */
static struct pb_event next(enum pb_event_type type, uint64_t id)
{
	struct pb_error err = { 0 };
	struct pb_event event;

	if (!wait_event(watch, &event, &err))
		ck_abort_msg("no event came, and '%s' of buffer %llu should have: %s",
			     pb_event_name(type), (unsigned long long)id, err.text);
	ck_assert_msg(event.type == type && (!id || event.buffer.id == id),
		      "the event is '%s' of buffer %llu, not '%s' of %llu",
		      pb_event_name(event.type), (unsigned long long)event.buffer.id,
		      pb_event_name(type), (unsigned long long)id);
	return event;
}

static void silence(void)
{
	struct pb_event event;

	usleep(200000);
	ok(pb_watch_next(watch, &event, &err));
	if (event.type != PB_EVENT_NONE)
		ck_abort_msg("an event came that should not have: '%s'", pb_event_name(event.type));
}

static uint64_t id_of(struct pb_buffer *buffer)
{
	return query(pb_buffer_fd(buffer)).id;
}

/* Find the buffer in the list. Fail the test if it is not there. The caller frees the list. */
static struct pb_listed *listed(uint64_t id, struct pb_listed **list)
{
	unsigned int i, n;

	ok(pb_list_buffers(list, &n, &err));
	for (i = 0; i < n; i++)
		if ((*list)[i].id == id)
			return &(*list)[i];
	ck_abort_msg("buffer %llu is not in the list of %u", (unsigned long long)id, n);
}

START_TEST(everything_that_happens)
{
	struct pb_buffer *buffer = export_one(MIB, 2 * PAGE), *second;
	uint64_t id = id_of(buffer);
	struct pb_event event;
	uint8_t *p;

	event = next(PB_EVENT_CREATED, id);
	ck_assert_str_eq(event.buffer.device, lab_bdf(LAB_GPU));
	ck_assert_uint_eq(event.buffer.size, 2 * PAGE);
	ck_assert_int_eq(event.buffer.model, PB_REVOCABLE);
	/* It has no attributes that need privileges. */
	ck_assert_uint_eq(event.buffer.nr_extents + event.buffer.nr_importer_names +
				  event.buffer.creator,
			  0);
	p = map_fd(pb_buffer_fd(buffer), 0, PAGE);
	ck_assert(can_read(p, NULL));
	silence();
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	event = next(PB_EVENT_REVOKED, id);
	ck_assert_int_eq(event.buffer.state, PB_BUFFER_REVOKED);
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	silence();
	/* The restore is reported without an access. */
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	event = next(PB_EVENT_RESTORED, id);
	ck_assert_int_eq(event.buffer.state, PB_BUFFER_LIVE);
	silence();
	ck_assert_int_eq(feature_revoke(fixture.gpu, pb_buffer_fd(buffer)), 0);
	event = next(PB_EVENT_REVOKED, id);
	ck_assert_int_eq(event.buffer.state, PB_BUFFER_DEAD);
	ck_assert_int_eq(feature_revoke(fixture.gpu, pb_buffer_fd(buffer)), -EBADFD);
	silence();
	/* The mapping keeps it. */
	pb_buffer_close(buffer);
	silence();
	munmap(p, PAGE);
	next(PB_EVENT_RELEASED, id);
	/* Closing the device permanently revokes its buffers. */
	second = export_one(0, PAGE);
	id = id_of(second);
	next(PB_EVENT_CREATED, id);
	pb_device_close(fixture.gpu);
	/* It turns decoding off first. */
	next(PB_EVENT_REVOKED, id);
	event = next(PB_EVENT_REVOKED, id);
	ck_assert_int_eq(event.buffer.state, PB_BUFFER_DEAD);
	pb_buffer_close(second);
	next(PB_EVENT_RELEASED, id);
	silence();
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
}
END_TEST

START_TEST(a_move)
{
	int exporter = test_exporter_open(),
	    fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_CORE, PEERBAR_MODEL_DYNAMIC, PAGE);
	uint64_t id = query(fd).id;

	ck_assert_int_eq(next(PB_EVENT_CREATED, id).buffer.model, PB_DYNAMIC);
	ck_assert_int_eq(test_move(exporter, fd, PEERBAR_TEST_PLACE_THERE), PEERBAR_TEST_PLACE_B);
	next(PB_EVENT_MOVED, id);
	close(fd);
	next(PB_EVENT_RELEASED, id);
	close(exporter);
}
END_TEST

START_TEST(the_list)
{
	const struct pb_range ranges[] = {
		{ MIB, 2 * PAGE },
		{ 0, PAGE },
	};
	unsigned int before = count_listed();
	struct pb_buffer *one = export_one(0, PAGE), *two;
	struct pb_listed *list, *b;
	int importer = test_importer_open(), handle;
	uint8_t *p;

	ck_assert_uint_eq(count_listed(), before + 1);
	two = export_ranges(ranges, 2);
	b = listed(id_of(two), &list);
	ck_assert_str_eq(b->exporter, "peerbar_vfio_pci");
	ck_assert_str_eq(b->device, lab_bdf(LAB_GPU));
	ck_assert_uint_eq(b->size, 3 * PAGE);
	ck_assert_int_eq(b->model, PB_REVOCABLE);
	ck_assert_int_eq(b->state, PB_BUFFER_LIVE);
	ck_assert_uint_eq(b->nr_ranges, 2);
	ck_assert_uint_eq(b->nr_importers, 0);
	ck_assert_uint_eq(b->nr_mmaps, 0);
	/* This process is privileged. */
	ck_assert_uint_eq(b->creator, (unsigned int)getpid());
	ck_assert_uint_eq(b->nr_extents, 2);
	ck_assert_uint_eq(b->extents[0].length, 2 * PAGE);
	ck_assert_uint_eq(b->extents[0].start, b->extents[1].start + MIB);
	free(list);

	p = map_fd(pb_buffer_fd(one), 0, PAGE);
	handle = test_import_attach(importer, pb_buffer_fd(one), PEERBAR_TEST_KIND_REVOCABLE, 0,
				    lab_bdf(LAB_NIC));
	ck_assert_int_gt(handle, 0);
	ck_assert_int_eq(feature_set_memattr(fixture.gpu, pb_buffer_fd(one), PEERBAR_MEMATTR_WC),
			 0);
	b = listed(id_of(one), &list);
	ck_assert_uint_eq(b->nr_mmaps, 1);
	ck_assert_uint_eq(b->nr_importers, 1);
	ck_assert_uint_eq(b->nr_importer_names, 1);
	ck_assert_str_eq(b->importer_names[0], lab_bdf(LAB_NIC));
	ck_assert_int_eq(b->memattr, PB_WC);
	free(list);
	munmap(p, PAGE);
	close(importer);
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	b = listed(id_of(one), &list);
	ck_assert_int_eq(b->state, PB_BUFFER_REVOKED);
	ck_assert_uint_eq(b->nr_mmaps, 0);
	free(list);
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	/* The list does not wait for the worker that restores the buffer; a query does. */
	state_is(pb_buffer_fd(one), PEERBAR_STATE_LIVE);
	b = listed(id_of(one), &list);
	ck_assert_int_eq(b->state, PB_BUFFER_LIVE);
	free(list);
	pb_buffer_close(one);
	pb_buffer_close(two);
	ck_assert_uint_eq(count_listed(), before);
}
END_TEST

/* More than fits into one message. */
START_TEST(a_long_list)
{
	enum { N = 150 };
	struct pb_buffer *buffers[N];
	unsigned int before = count_listed(), i;
	struct pb_listed *list;
	uint64_t last = 0;
	unsigned int n;

	for (i = 0; i < N; i++)
		buffers[i] = export_one(i * PAGE, PAGE);
	ok(pb_list_buffers(&list, &n, &err));
	ck_assert_uint_eq(n, before + N);
	for (i = 0; i < n; i++) {
		ck_assert_uint_gt(list[i].id, last);
		last = list[i].id;
	}
	free(list);
	for (i = 0; i < N; i++)
		pb_buffer_close(buffers[i]);
	ck_assert_uint_eq(count_listed(), before);
}
END_TEST

/* An unprivileged process sees the buffer, but neither its addresses nor its users. */
START_TEST(without_privilege)
{
	struct pb_buffer *buffer = export_one(0, PAGE);
	uint64_t id = id_of(buffer);
	int child = fork();

	if (!child) {
		struct pb_listed *list, *b;

		if (setgid(65534) || setuid(65534))
			_exit(1);
		b = listed(id, &list);
		if (b->nr_extents || b->nr_importer_names || b->creator || b->nr_ranges != 1 ||
		    b->size != PAGE)
			_exit(2);
		_exit(0);
	}
	ck_assert_int_eq(wait_for(child), 0);
	pb_buffer_close(buffer);
}
END_TEST

/* Another network namespace sees only its own buffers. The initial one sees all. */
START_TEST(another_namespace)
{
	struct pb_buffer *here = export_one(0, PAGE);
	int report[2], go[2], child;
	uint64_t theirs;
	struct pb_listed *list;
	char c;

	ck_assert_int_eq(pipe(report) | pipe(go), 0);
	child = fork();
	if (!child) {
		int exporter = test_exporter_open(), fd;
		struct pb_watch *own;
		struct pb_event event;

		if (unshare(CLONE_NEWNET))
			_exit(1);
		if (pb_watch_open(&own, NULL) || count_listed())
			_exit(2);
		fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_CORE, PEERBAR_MODEL_REVOCABLE,
				     PAGE);
		theirs = query(fd).id;
		if (count_listed() != 1 ||
		    write(report[1], &theirs, sizeof(theirs)) != sizeof(theirs) ||
		    read(go[0], &c, 1) != 1)
			_exit(3);
		/* Its own creation, and no event of the initial namespace. */
		if (!wait_event(own, &event, NULL) || event.buffer.id != theirs)
			_exit(4);
		usleep(200000);
		if (pb_watch_next(own, &event, NULL) || event.type != PB_EVENT_NONE)
			_exit(5);
		_exit(0);
	}
	ck_assert_int_eq(read(report[0], &theirs, sizeof(theirs)), sizeof(theirs));
	listed(theirs, &list);
	free(list);
	pb_buffer_close(here);
	pb_buffer_close(export_one(0, PAGE));
	ck_assert_int_eq(write(go[1], "g", 1), 1);
	ck_assert_int_eq(wait_for(child), 0);
	close(report[0]), close(report[1]), close(go[0]), close(go[1]);
}
END_TEST

/* ---- cost of listeners ---- */

#define LISTENERS (lab_kernel_is("debug") ? 1250 : 5000)
#define BUFFERS	  100

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/*
 * Start an unprivileged process that joins the group with many sockets and never reads. It writes a
 * byte to @ready when it has joined.
 */
static pid_t start_listeners(int ready)
{
	struct pb_watch *family;
	socklen_t size = sizeof(uint32_t) * 8;
	uint32_t groups[8] = { 0 };
	int i, group = 0, small = 1;
	pid_t child;

	/* Find the group's number, from a member's socket. */
	ok(pb_watch_open(&family, &err));
	ck_assert_int_eq(getsockopt(pb_watch_fd(family), SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS,
				    groups, &size),
			 0);
	while (group < 256 && !(groups[group / 32] & 1U << group % 32))
		group++;
	ck_assert_int_lt(group, 256);
	/* The lowest bit is group 1. */
	group++;
	pb_watch_close(family);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child)
		return child;
	setrlimit(RLIMIT_NOFILE, &(struct rlimit){ LISTENERS + 200, LISTENERS + 200 });
	if (setgid(65534) || setuid(65534))
		_exit(1);
	for (i = 0; i < LISTENERS; i++) {
		struct sockaddr_nl address = { .nl_family = AF_NETLINK };
		int sk = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);

		if (sk < 0 || setsockopt(sk, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)) ||
		    bind(sk, (struct sockaddr *)&address, sizeof(address)) ||
		    setsockopt(sk, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)))
			_exit(2);
	}
	if (write(ready, "r", 1) != 1)
		_exit(3);
	for (;;)
		pause();
}

/* Measure how long it takes to temporarily revoke all buffers. Return the best of some rounds. */
static double time_revocations(struct pb_buffer **buffers)
{
	double best = 1e9;
	int i, round;

	for (round = 0; round < 5; round++) {
		double began = now(), took;

		ok(pb_device_set_decoding(fixture.gpu, false, &err));
		took = now() - began;
		best = took < best ? took : best;
		ok(pb_device_set_decoding(fixture.gpu, true, &err));
		for (i = 0; i < BUFFERS; i++)
			state_is(pb_buffer_fd(buffers[i]), PEERBAR_STATE_LIVE);
	}
	return best;
}

/*
 * Regardless of the number and speed of listeners, the owner does not wait for them. A listener
 * that reads gets all events, in order.
 */
START_TEST(many_listeners)
{
	struct pb_buffer *buffers[BUFFERS];
	double alone, together;
	int ready[2], i;
	pid_t child;
	char c;

	pb_watch_close(watch);
	watch = NULL;
	for (i = 0; i < BUFFERS; i++)
		buffers[i] = export_one((uint64_t)i * PAGE, PAGE);
	alone = time_revocations(buffers);
	ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
	child = start_listeners(ready[1]);
	close(ready[1]);
	ck_assert_msg(read(ready[0], &c, 1) == 1,
		      "an unprivileged process cannot join with %d sockets", LISTENERS);
	close(ready[0]);
	together = time_revocations(buffers);
	printf("events: %d buffers revoked in %.1f ms, with %d listeners in %.1f ms\n", BUFFERS,
	       alone * 1e3, LISTENERS, together * 1e3);
	/* With 5000, it took some 90 times as long when the owner waited for the listeners. */
	ck_assert_msg(together < 8 * alone + 0.02, "%.4f s without listeners, %.4f s with", alone,
		      together);

	/* Otherwise the worker would be behind for some more seconds. */
	kill(child, SIGKILL);
	ck_assert_int_eq(wait_for(child), 128 + SIGKILL);
	ok(pb_watch_open(&watch, &err));
	/* Skip events of earlier changes, up to the first permanent revoke. */
	ck_assert_int_eq(feature_revoke(fixture.gpu, pb_buffer_fd(buffers[0])), 0);
	for (;;) {
		struct pb_event event;

		ck_assert(wait_event(watch, &event, NULL));
		if (event.type == PB_EVENT_REVOKED && event.buffer.state == PB_BUFFER_DEAD &&
		    event.buffer.id == id_of(buffers[0]))
			break;
	}
	for (i = 1; i < BUFFERS; i++)
		ck_assert_int_eq(feature_revoke(fixture.gpu, pb_buffer_fd(buffers[i])), 0);
	for (i = 1; i < BUFFERS; i++)
		ck_assert_int_eq(next(PB_EVENT_REVOKED, id_of(buffers[i])).buffer.state,
				 PB_BUFFER_DEAD);
	for (i = 0; i < BUFFERS; i++)
		pb_buffer_close(buffers[i]);
}
END_TEST

/* An event that does not fit is reported as lost. */
START_TEST(lost_events)
{
	static const char limit[] = "/sys/module/peerbar/parameters/max_queued_events";
	struct pb_buffer *buffer = export_one(0, PAGE);
	uint64_t id = id_of(buffer);

	next(PB_EVENT_CREATED, id);
	write_file(limit, "0");
	ok(pb_device_set_decoding(fixture.gpu, false, &err));
	next(PB_EVENT_LOST, 0);
	silence();
	write_file(limit, "65536");
	ok(pb_device_set_decoding(fixture.gpu, true, &err));
	next(PB_EVENT_RESTORED, id);
	pb_buffer_close(buffer);
	next(PB_EVENT_RELEASED, id);
}
END_TEST

/* A buffer that outlives its creator does not keep the creator's network namespace. */
START_TEST(namespace_goes)
{
	static const char limit[] = "/proc/sys/user/max_net_namespaces";
	char old[32] = "";
	int sockets[2], fd, tries, status = 1, file = open(limit, O_RDONLY | O_CLOEXEC);
	struct pb_listed *list;
	struct pb_event event;
	uint64_t id;
	pid_t child;

	ck_assert_int_gt(read(file, old, sizeof(old) - 1), 0);
	close(file);
	ck_assert_int_eq(socketpair_cloexec(sockets), 0);
	/* Allow one namespace. */
	write_file(limit, "1");
	child = fork();
	if (!child) {
		int exporter = test_exporter_open();

		if (unshare(CLONE_NEWNET))
			_exit(1);
		send_fd(sockets[1],
			test_export_one(exporter, PEERBAR_TEST_SOURCE_CORE, PEERBAR_MODEL_REVOCABLE,
					PAGE));
		_exit(0);
	}
	fd = receive_fd(sockets[0]);
	ck_assert_int_eq(wait_for(child), 0);
	id = query(fd).id;
	next(PB_EVENT_CREATED, id);
	for (tries = 0; tries < 100 && status; tries++) {
		usleep(100000);
		child = fork();
		if (!child)
			_exit(unshare(CLONE_NEWNET) ? 1 : 0);
		status = wait_for(child);
	}
	write_file(limit, old);
	ck_assert_msg(!status, "the namespace is there although only a buffer is left of it");
	/* The initial namespace lists it, and gets its events. */
	listed(id, &list);
	free(list);
	close(fd);
	ck_assert(wait_event(watch, &event, NULL));
	ck_assert(event.type == PB_EVENT_RELEASED && event.buffer.id == id);
	close(sockets[0]);
	close(sockets[1]);
}
END_TEST

/* ---- loading and unloading ---- */

START_TEST(unloading)
{
	static const char *const modules[] = { "peerbar_iommufd", "peerbar_test_importer",
					       "peerbar_test_exporter", "peerbar_vfio_pci",
					       "peerbar" };
	struct pb_buffer *buffer = export_one(0, PAGE);
	int exporter, fd, round, log;
	uint8_t *p;
	size_t i;

	/*
	 * In use: the driver by its device, the core by the driver, an exporter by its buffer,
	 * mapped or not.
	 */
	ck_assert_int_eq(module_unload("peerbar_vfio_pci"), -EAGAIN);
	ck_assert_int_eq(module_unload("peerbar"), -EAGAIN);
	edu_stop(&fixture.edu);
	pb_device_close(fixture.gpu);
	pb_device_close(fixture.edu_device);
	fixture.gpu = fixture.edu_device = NULL;
	ok(pb_pci_bind(lab_bdf(LAB_GPU), "vfio-pci", &err));
	ok(pb_pci_bind(lab_bdf(LAB_EDU), "vfio-pci", &err));
	ck_assert_int_eq(module_unload("peerbar_vfio_pci"), -EAGAIN);
	state_is(pb_buffer_fd(buffer), PEERBAR_STATE_DEAD);
	pb_buffer_close(buffer);
	exporter = test_exporter_open();
	fd = test_export_one(exporter, PEERBAR_TEST_SOURCE_CORE, PEERBAR_MODEL_REVOCABLE, PAGE);
	close(exporter);
	p = map_fd(fd, 0, PAGE);
	close(fd);
	ck_assert_int_eq(module_unload("peerbar_test_exporter"), -EAGAIN);
	munmap(p, PAGE);
	/* Not in use: they can be unloaded and loaded again. */
	pb_watch_close(watch);
	watch = NULL;
	for (round = 0; round < (lab_kernel_is("debug") ? 2 : 3); round++) {
		for (i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
			int ret = module_unload(modules[i]), tries;

			/*
			 * The last reference of a dma-buf may be dropped a moment after the
			 * descriptor.
			 */
			for (tries = 0; ret == -EAGAIN && tries < 50; tries++) {
				usleep(100000);
				ret = module_unload(modules[i]);
			}
			ck_assert_msg(!ret || ret == -ENOENT, "%s cannot be unloaded: %s",
				      modules[i], strerror(-ret));
		}
		if (!round) {
			/*
			 * An untested kernel is refused with a message, unless the administrator
			 * permits it.
			 */
			log = log_open();
			ck_assert_int_ne(system("modprobe peerbar newest_kernel=7.1 2>/dev/null"),
					 0);
			ck_assert(log_has(log, "it is newer than 7.1 and was not tested"));
			ck_assert_int_ne(system("modprobe peerbar newest_kernel=next 2>/dev/null"),
					 0);
			ck_assert_int_eq(system("modprobe peerbar newest_kernel=99.0"), 0);
		}
		module_load("peerbar-vfio-pci");
		module_load("peerbar-iommufd");
		module_load("peerbar-test-exporter");
		module_load("peerbar-test-importer");
	}
	fixture.gpu = lab_open(fixture.iommu, LAB_GPU);
	fixture.edu_device = lab_open(fixture.iommu, LAB_EDU);
	edu_start(&fixture.edu, fixture.edu_device);
}
END_TEST

LAB_SUITE("events", 0)
{
	TCase *t = suite_case(s, "all", 90, events_up, events_down);

	tcase_add_test(t, everything_that_happens);
	tcase_add_test(t, a_move);
	tcase_add_test(t, the_list);
	tcase_add_test(t, a_long_list);
	tcase_add_test(t, without_privilege);
	tcase_add_test(t, another_namespace);
	tcase_add_test(t, many_listeners);
	tcase_add_test(t, lost_events);
	tcase_add_test(t, namespace_goes);
	tcase_add_test(t, unloading);
}
