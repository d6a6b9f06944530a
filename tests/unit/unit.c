// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Tests that need no machine: parsing, searching, argument checks, and the errors of calls that
 * need no device.
 */
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../sentence.h"
#include "guest-state.h"
#include "internal.h"
#include "parse.h"

static struct pb_error err;

/* ---- names of RDMA links ---- */

START_TEST(link_names)
{
	char longest[65];

	memset(longest, 'x', 64);
	longest[64] = '\0';
	refused(pb_rdma_link_add("", "eth0", &err), EINVAL, "'' is no name of an RDMA device");
	refused(pb_rdma_link_add(NULL, "eth0", &err), EINVAL, "no name");
	refused(pb_rdma_link_add("pb%d", "eth0", &err), EINVAL, "'pb%d'");
	refused(pb_rdma_link_add(longest, "eth0", &err), EINVAL, "1 to 63 characters");
	refused(pb_rdma_link_add("pb0", "", &err), EINVAL, "no name of a network device");
	refused(pb_rdma_link_add("pb0", "a-name-of-16-abc", &err), EINVAL, "1 to 15 characters");
	refused(pb_rdma_link_delete("pb/0", &err), EINVAL, "'pb/0'");
}
END_TEST

/* ---- the debug log ---- */

/* What the test below executes: a failure, one without a struct pb_error, and an ioctl. */
static int fail_for_debug_log(void)
{
	pb_fail(&err, EINVAL, "the number %d is wrong", 7);
	pb_fail_errno(NULL, ENOENT, "cannot open it");
	pb_ioctl(-1, FIONREAD, NULL);
	return errno == EBADF ? 0 : 1;
}

/* Run it with the environment, and get what it wrote to stderr. */
static void run_for_debug_log(const char *level, const char *file, char *text, size_t size)
{
	FILE *out = tmpfile();
	int status;
	pid_t pid;

	ck_assert_ptr_nonnull(out);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		dup2(fileno(out), STDERR_FILENO);
		if (level)
			setenv("PEERBAR_DEBUG", level, 1);
		if (file)
			setenv("PEERBAR_DEBUG_FILE", file, 1);
		execl("/proc/self/exe", "unit", "--debug-log", NULL);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	rewind(out);
	text[fread(text, 1, size - 1, out)] = '\0';
	fclose(out);
}

static unsigned int count_lines(const char *text)
{
	unsigned int n = 0;

	for (; (text = strchr(text, '\n')); text++)
		n++;
	return n;
}

START_TEST(the_debug_log)
{
	char text[4096], path[] = "/tmp/peerbar-unit-XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	/* Nothing is printed unless the user asks for it. */
	run_for_debug_log(NULL, NULL, text, sizeof(text));
	ck_assert_str_eq(text, "");
	run_for_debug_log(NULL, path, text, sizeof(text));
	ck_assert_str_eq(text, "");
	run_for_debug_log("0", NULL, text, sizeof(text));
	ck_assert_str_eq(text, "");
	run_for_debug_log("yes", NULL, text, sizeof(text));
	ck_assert_str_eq(text, "");
	run_for_debug_log("1", NULL, text, sizeof(text));
	ck_assert_uint_eq(count_lines(text), 2);
	ck_assert_ptr_nonnull(strstr(text, ": error 22: the number 7 is wrong\n"));
	ck_assert_ptr_nonnull(
		strstr(text, ": error 2: cannot open it: No such file or directory\n"));
	run_for_debug_log("2", NULL, text, sizeof(text));
	ck_assert_uint_eq(count_lines(text), 3);
	ck_assert_ptr_nonnull(strstr(text, ": ioctl FIONREAD of descriptor -1: error 9\n"));
	/* A file is appended to, and stderr stays empty. */
	run_for_debug_log("1", path, text, sizeof(text));
	ck_assert_str_eq(text, "");
	run_for_debug_log("2", path, text, sizeof(text));
	ck_assert_str_eq(text, "");
	ck_assert_int_gt(pb_read_file(path, text, sizeof(text)), 0);
	ck_assert_uint_eq(count_lines(text), 5);
	/* A file that cannot be opened is no reason to write to stderr. */
	run_for_debug_log("2", "/proc/none/none", text, sizeof(text));
	ck_assert_str_eq(text, "");
	unlink(path);
	close(fd);
}
END_TEST

/* ---- errors ---- */

START_TEST(errors_are_sentences)
{
	char longer[600];

	ck_assert_int_eq(pb_fail(&err, EINVAL, "the number %d is wrong", 7), -EINVAL);
	ck_assert_int_eq(err.code, EINVAL);
	ck_assert_str_eq(err.text, "the number 7 is wrong");
	ck_assert_int_eq(pb_fail_errno(&err, ENOENT, "cannot open it"), -ENOENT);
	ck_assert_str_eq(err.text, "cannot open it: No such file or directory");
	/* The error is optional. */
	ck_assert_int_eq(pb_fail(NULL, EIO, "x"), -EIO);
	ck_assert_int_eq(pb_fail_errno(NULL, EIO, "x"), -EIO);
	/* The error names the missing module, and how to get it. */
	ck_assert_int_eq(pb_fail_driver(&err, "0000:01:00.0", "cannot do %s", "it"), -EOPNOTSUPP);
	ck_assert_int_eq(err.code, EOPNOTSUPP);
	ck_assert_str_eq(err.text,
			 "cannot do it: this needs the kernel module peerbar-vfio-pci; load it and bind the device to it: "
			 "peerbar bind --driver peerbar-vfio-pci 0000:01:00.0");
	ck_assert_int_eq(pb_fail_driver(NULL, "", "x"), -EOPNOTSUPP);
	/* A long message is truncated. */
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	ck_assert_int_eq(pb_fail_errno(&err, EIO, "%s", longer), -EIO);
	ck_assert_uint_eq(strlen(err.text), sizeof(err.text) - 1);
}
END_TEST

/* ---- models ---- */

START_TEST(model_of_exporters)
{
	ck_assert_int_eq(pb_exporter_model("vfio_pci_core"), PB_REVOCABLE);
	ck_assert_int_eq(pb_exporter_model("peerbar_vfio_pci"), PB_REVOCABLE);
	ck_assert_int_eq(pb_exporter_model("udmabuf"), PB_PINNED);
	ck_assert_int_eq(pb_exporter_model("system"), PB_PINNED);
	/*
	 * Exporters that are not in the table are UNKNOWN: strangers, drivers that share a name,
	 * and names similar to known ones.
	 */
	ck_assert_int_eq(pb_exporter_model("drm"), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model("stranger"), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model("vfio_pci_core2"), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model("udma"), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model(""), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model(NULL), PB_UNKNOWN);
}
END_TEST

START_TEST(model_names)
{
	ck_assert_str_eq(pb_model_name(PB_PINNED), "PINNED");
	ck_assert_str_eq(pb_model_name(PB_REVOCABLE), "REVOCABLE");
	ck_assert_str_eq(pb_model_name(PB_DYNAMIC), "DYNAMIC");
	ck_assert_str_eq(pb_model_name(PB_UNKNOWN), "UNKNOWN");
	ck_assert_str_eq(pb_model_name((enum pb_model)77), "UNKNOWN");
}
END_TEST

START_TEST(other_names)
{
	ck_assert_str_eq(pb_model_basis_name(PB_BASIS_NONE), "NONE");
	ck_assert_str_eq(pb_model_basis_name(PB_BASIS_NAME), "NAME");
	ck_assert_str_eq(pb_model_basis_name(PB_BASIS_DERIVED), "DERIVED");
	ck_assert_str_eq(pb_model_basis_name(PB_BASIS_DECLARED), "DECLARED");
	ck_assert_str_eq(pb_buffer_state_name(PB_BUFFER_LIVE), "LIVE");
	ck_assert_str_eq(pb_buffer_state_name(PB_BUFFER_REVOKED), "REVOKED");
	ck_assert_str_eq(pb_buffer_state_name(PB_BUFFER_DEAD), "DEAD");
	ck_assert_str_eq(pb_buffer_state_name((enum pb_buffer_state)77), "UNKNOWN");
	ck_assert_str_eq(pb_memattr_name(PB_NC), "NC");
	ck_assert_str_eq(pb_memattr_name(PB_WC), "WC");
	ck_assert_str_eq(pb_memattr_name(PB_WB), "WB");
	/* of another group */
	ck_assert_str_eq(pb_memattr_name((enum pb_memattr)0x01000001), "OTHER");
	ck_assert_str_eq(pb_event_name(PB_EVENT_CREATED), "created");
	ck_assert_str_eq(pb_event_name(PB_EVENT_REVOKED), "revoked");
	ck_assert_str_eq(pb_event_name(PB_EVENT_RESTORED), "restored");
	ck_assert_str_eq(pb_event_name(PB_EVENT_MOVED), "moved");
	ck_assert_str_eq(pb_event_name(PB_EVENT_RELEASED), "released");
	ck_assert_str_eq(pb_event_name(PB_EVENT_LOST), "lost");
}
END_TEST

START_TEST(model_refusals)
{
	ck_assert_int_eq(pb_model_accept(PB_PINNED, false, "udmabuf", &err), 0);
	ck_assert_int_eq(pb_model_accept(PB_REVOCABLE, false, "vfio_pci_core", &err), 0);
	refused(pb_model_accept(PB_DYNAMIC, false, "mover", &err), EOPNOTSUPP, "DYNAMIC");
	/* The flag permits UNKNOWN, but not DYNAMIC. */
	refused(pb_model_accept(PB_DYNAMIC, true, "mover", &err), EOPNOTSUPP, "mover");
	refused(pb_model_accept(PB_UNKNOWN, false, "drm", &err), EOPNOTSUPP, "UNKNOWN");
	ck_assert_int_eq(pb_model_accept(PB_UNKNOWN, true, "drm", &err), 0);
}
END_TEST

/*
 * A stock kernel has no DYNAMIC exporter, so construct a buffer. The call must fail before it uses
 * the kernel: the descriptors and the context are invalid, so any use would fail differently.
 */
START_TEST(dynamic_is_refused_before_anything_else)
{
	struct pb_piece piece = { .fd = -1, .size = 0x10000 };
	struct pb_dmabuf dmabuf = {
		.fd = -1,
		.info = { .size = 0x10000, .exporter = "mover", .model = PB_DYNAMIC },
		.pieces = &piece,
		.nr_pieces = 1
	};
	struct pb_buffer buffer = { &dmabuf };
	struct pb_iommu iommu = { .fd = -1 };
	struct pb_ioas ioas = { .iommu = &iommu };
	struct pb_mapping *mapping = NULL;

	refused(pb_map_buffer(&ioas, &buffer, 0, 0, PB_MAP_READ, 0, &mapping, &err), EOPNOTSUPP,
		"DYNAMIC");
	refused(pb_map_buffer(&ioas, &buffer, 0, 0, PB_MAP_READ | PB_MAP_UNKNOWN_MODEL, 0, &mapping,
			      &err),
		EOPNOTSUPP, "DYNAMIC");
	dmabuf.info.model = PB_UNKNOWN;
	refused(pb_map_buffer(&ioas, &buffer, 0, 0, PB_MAP_READ, 0, &mapping, &err), EOPNOTSUPP,
		"PB_MAP_UNKNOWN_MODEL");
	ck_assert_ptr_null(mapping);
}
END_TEST

/* ---- calls that need peerbar-vfio-pci ---- */

/*
 * An empty file instead of a VFIO device: it supports no ioctl, like another driver that lacks
 * peerbar's.
 */
static void make_device(struct pb_device *device)
{
	memset(device, 0, sizeof(*device));
	device->fd = memfd_create("device", MFD_CLOEXEC);
	ck_assert_int_ge(device->fd, 0);
	strcpy(device->bdf, "0000:01:00.0");
	device->nr_regions = PB_BARS;
	device->regions[2].size = 1 << 20;
	device->memory_bar[2] = true;
}

START_TEST(refusals_name_the_driver)
{
	static const char how[] = "peerbar bind --driver peerbar-vfio-pci 0000:01:00.0";
	struct pb_origin *origin = pb_origin_new("0000:01:00.0");
	struct pb_dmabuf dmabuf = { .fd = 0, .info = { .size = 0x10000 }, .origin = origin };
	struct pb_buffer buffer = { &dmabuf };
	enum pb_memattr wc = PB_WC;
	struct pb_device device;
	uint64_t cookie = 7;

	make_device(&device);
	refused(pb_buffer_revoke(&device, &buffer, &err), EOPNOTSUPP, how);
	ck_assert(!dmabuf.dead);
	refused(pb_buffer_set_memattr(&device, &buffer, &wc, 1, NULL, &err), EOPNOTSUPP, how);
	refused(pb_buffer_memattr(&device, &buffer, &wc, &err), EOPNOTSUPP, how);
	refused(pb_device_mmap_cookie(&device, 2, 0, 0x1000, PB_WC, &cookie, &err), EOPNOTSUPP,
		how);
	ck_assert_int_eq(wc, PB_WC);
	ck_assert_uint_eq(cookie, 7);
	pb_origin_put(origin);
	close(device.fd);
}
END_TEST

START_TEST(wrong_arguments_for_mmap)
{
	uint64_t page = pb_page_size();
	struct pb_dmabuf dmabuf = {
		.fd = -1,
		.info = { .size = 4 * page },
	};
	struct pb_buffer buffer = { &dmabuf };
	struct pb_device device;
	uint64_t cookie;
	void *p;

	refused(pb_buffer_mmap(&buffer, 1, page, false, &p, &err), EINVAL,
		"multiple of the page size");
	refused(pb_buffer_mmap(&buffer, 0, 0, false, &p, &err), EINVAL, "length not 0");
	refused(pb_buffer_mmap(&buffer, 0, 4 * page + 1, false, &p, &err), ERANGE,
		"its size is 0x");
	refused(pb_buffer_mmap(&buffer, 4 * page, 1, false, &p, &err), ERANGE, "its size is 0x");
	refused(pb_buffer_mmap(&buffer, UINT64_MAX - page + 1, page, false, &p, &err), ERANGE,
		"its size is 0x");
	make_device(&device);
	refused(pb_buffer_set_memattr(&device, &buffer, NULL, 0, NULL, &err), EINVAL,
		"no attribute");
	refused(pb_device_mmap_cookie(&device, 6, 0, page, PB_NC, &cookie, &err), EINVAL,
		"BARs 0 to 5");
	refused(pb_device_mmap_cookie(&device, 1, 0, page, PB_NC, &cookie, &err), ENODEV,
		"no such BAR");
	refused(pb_device_mmap_cookie(&device, 2, 1, page, PB_NC, &cookie, &err), EINVAL,
		"cannot make a cookie for range 0");
	refused(pb_device_mmap_cookie(&device, 2, 0, 0, PB_NC, &cookie, &err), EINVAL,
		"its length is 0");
	refused(pb_device_mmap_cookie(&device, 2, 1 << 20, page, PB_NC, &cookie, &err), ERANGE,
		"beyond the BAR");
	refused(pb_device_mmap_cookie(&device, 2, page, -page, PB_NC, &cookie, &err), EOVERFLOW,
		"2^64");
	refused(pb_device_mmap_at(&device, 0, 0, false, &p, &err), EINVAL, "length must not be 0");
	refused(pb_device_mmap_at(&device, 1, page, false, &p, &err), EINVAL,
		"no cookie of this device");
	close(device.fd);
}
END_TEST

/* A permanent revoke of a buffer revokes its mappings, also later ones, and no others. */
START_TEST(the_end_of_a_buffer)
{
	struct pb_origin *origin = pb_origin_new("");
	struct pb_ioas ioas = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct pb_dmabuf one = { .origin = origin }, other = { .origin = origin };
	struct pb_mapping mappings[] = {
		{ .ioas = &ioas, .events = &ioas.events, .dmabuf = &one },
		{ .ioas = &ioas, .events = &ioas.events, .dmabuf = &other },
		{ .ioas = &ioas, .events = &ioas.events, .dmabuf = &one },
	};
	unsigned int i;

	ck_assert_int_eq(pb_mapping_events_init(&ioas.events), 0);
	pb_origin_watch(origin, &mappings[0], pb_origin_get_revocations(origin));
	pb_origin_watch(origin, &mappings[1], pb_origin_get_revocations(origin));
	pb_dmabuf_mark_dead(&one);
	ck_assert_int_eq(pb_mapping_state(&mappings[0]), PB_REVOKED);
	ck_assert_int_eq(pb_mapping_state(&mappings[1]), PB_LIVE);
	pb_origin_watch(origin, &mappings[2], pb_origin_get_revocations(origin));
	ck_assert_int_eq(pb_mapping_state(&mappings[2]), PB_REVOKED);
	ck_assert_ptr_eq(pb_ioas_next_revoked(&ioas), &mappings[0]);
	ck_assert_ptr_eq(pb_ioas_next_revoked(&ioas), &mappings[2]);
	ck_assert_ptr_null(pb_ioas_next_revoked(&ioas));
	for (i = 0; i < 3; i++)
		pb_origin_unwatch(origin, &mappings[i]);
	pb_origin_put(origin);
	pb_mapping_events_destroy(&ioas.events);
}
END_TEST

/* ---- netlink ---- */

/* The message under construction. */
static struct {
	_Alignas(struct nlattr) char bytes[4096];
	size_t n;
} message;

static void put(unsigned int type, const void *value, size_t size)
{
	struct nlattr head = { .nla_type = (uint16_t)type,
			       .nla_len = (uint16_t)(NLA_HDRLEN + size) };

	memset(message.bytes + message.n, 0, NLA_HDRLEN + NLA_ALIGN(size));
	memcpy(message.bytes + message.n, &head, sizeof(head));
	memcpy(message.bytes + message.n + NLA_HDRLEN, value, size);
	message.n += NLA_HDRLEN + NLA_ALIGN(size);
}

static void put_number(unsigned int type, uint64_t value, size_t size)
{
	/* Netlink has the CPU's byte order. */
	uint32_t half = (uint32_t)value;

	put(type, size == 4 ? (void *)&half : (void *)&value, size);
}

static void put_text(unsigned int type, const char *text)
{
	put(type, text, strlen(text) + 1);
}

static void put_range(uint64_t start, uint64_t length)
{
	size_t at = message.n;
	struct nlattr head;

	put(PEERBAR_A_RANGE | NLA_F_NESTED, "", 0);
	put_number(PEERBAR_A_RANGE_START, start, 8);
	put_number(PEERBAR_A_RANGE_LENGTH, length, 8);
	memcpy(&head, message.bytes + at, sizeof(head));
	head.nla_len = (uint16_t)(message.n - at);
	memcpy(message.bytes + at, &head, sizeof(head));
}

/* Send an event like the kernel. Return whether the other socket receives it. */
static bool heard(const int sockets[2], uint8_t cmd, uint64_t id)
{
	struct nlmsghdr head = { .nlmsg_type = 0x17 };
	struct genlmsghdr genl = { .cmd = cmd, .version = PEERBAR_GENL_VERSION };
	char packet[512];
	size_t size = NLMSG_HDRLEN + GENL_HDRLEN;
	ssize_t n;

	message.n = 0;
	put_text(PEERBAR_A_NAME, "0000:01:00.0/BAR2");
	put_number(PEERBAR_A_ID, id, 8);
	put_number(PEERBAR_A_SIZE, 0x300000000ULL, 8);
	head.nlmsg_len = (uint32_t)(size + message.n);
	memcpy(packet, &head, sizeof(head));
	memcpy(packet + NLMSG_HDRLEN, &genl, sizeof(genl));
	memcpy(packet + size, message.bytes, message.n);
	ck_assert_int_eq(send(sockets[0], packet, size + message.n, MSG_DONTWAIT),
			 (ssize_t)(size + message.n));
	n = recv(sockets[1], packet, sizeof(packet), MSG_DONTWAIT);
	ck_assert(n == (ssize_t)(size + message.n) || (n < 0 && errno == EAGAIN));
	return n > 0;
}

/* The events that wake a guest: the filter is tested on another socket. */
START_TEST(events_of_some_buffers)
{
	const uint64_t ids[] = { 7, 0x100000007ULL, 0xfedcba9876543210ULL };
	uint64_t many[600];
	int sockets[2];
	unsigned int i;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets), 0);
	ck_assert(heard(sockets, PEERBAR_CMD_BUFFER_CREATED, 7));
	ck_assert_int_eq(pb_filter_events(sockets[1], NULL, 0), 0);
	ck_assert(!heard(sockets, PEERBAR_CMD_BUFFER_REVOKED, 7));
	ck_assert_int_eq(pb_filter_events(sockets[1], ids, 3), 0);
	for (i = 0; i < 3; i++) {
		ck_assert(heard(sockets, PEERBAR_CMD_BUFFER_REVOKED, ids[i]));
		ck_assert(heard(sockets, PEERBAR_CMD_BUFFER_RESTORED, ids[i]));
		ck_assert(!heard(sockets, PEERBAR_CMD_BUFFER_CREATED, ids[i]));
		ck_assert(!heard(sockets, PEERBAR_CMD_BUFFER_RELEASED, ids[i]));
		ck_assert(!heard(sockets, PEERBAR_CMD_BUFFER_REVOKED, ids[i] + 1));
		ck_assert(!heard(sockets, PEERBAR_CMD_BUFFER_REVOKED, ids[i] ^ 1ULL << 35));
	}
	ck_assert(!heard(sockets, PEERBAR_CMD_BUFFER_REVOKED, 0x700000001ULL));
	ck_assert_int_eq(pb_filter_events(sockets[1], ids, 1), 0);
	ck_assert(!heard(sockets, PEERBAR_CMD_BUFFER_REVOKED, ids[1]));
	/*
	 * The longest filter that distinguishes buffers, if the system permits a filter of that
	 * length; and more buffers.
	 */
	for (i = 0; i < 600; i++)
		many[i] = 1000 + i;
	ck_assert_int_eq(pb_filter_events(sockets[1], many, 512), 0);
	ck_assert(heard(sockets, PEERBAR_CMD_BUFFER_RESTORED, 1000));
	ck_assert(heard(sockets, PEERBAR_CMD_BUFFER_RESTORED, 1511));
	ck_assert(!heard(sockets, PEERBAR_CMD_BUFFER_MOVED, 1511));
	ck_assert_int_eq(pb_filter_events(sockets[1], many, 600), 0);
	ck_assert(heard(sockets, PEERBAR_CMD_BUFFER_REVOKED, 1599));
	ck_assert(!heard(sockets, PEERBAR_CMD_BUFFER_CREATED, 1599));
	close(sockets[0]);
	close(sockets[1]);
}
END_TEST

START_TEST(a_listed_buffer)
{
	struct pb_listed b;

	message.n = 0;
	put_number(PEERBAR_A_ID, 0x123456789abULL, 8);
	put_text(PEERBAR_A_EXPORTER, "peerbar_vfio_pci");
	put_text(PEERBAR_A_DEVICE, "0000:01:00.0");
	put_text(PEERBAR_A_NAME, "0000:01:00.0/BAR2");
	put_number(PEERBAR_A_SIZE, 0x300000000ULL, 8);
	put_number(PEERBAR_A_MODEL, PEERBAR_MODEL_REVOCABLE, 4);
	put_number(PEERBAR_A_STATE, PEERBAR_STATE_DEAD, 4);
	put_number(PEERBAR_A_MEMATTR, PEERBAR_MEMATTR_WC, 4);
	put_number(PEERBAR_A_NR_RANGES, 3, 4);
	put_number(PEERBAR_A_NR_IMPORTERS, 2, 4);
	put_number(PEERBAR_A_NR_MMAPS, 5, 4);
	put_number(PEERBAR_A_CREATOR, 4711, 4);
	put_range(0x1000, 0x2000);
	put_range(0x100000000ULL, 0x4000);
	put_text(PEERBAR_A_IMPORTER, "iommu");
	put_text(PEERBAR_A_IMPORTER, "0000:02:00.0");
	/* Of a newer kernel module. */
	put_text(PEERBAR_A_MAX + 1, "what is this?");
	ck_assert_int_eq(pb_parse_listed(message.bytes, message.n, &b), 0);
	ck_assert_uint_eq(b.id, 0x123456789abULL);
	ck_assert_str_eq(b.exporter, "peerbar_vfio_pci");
	ck_assert_str_eq(b.device, "0000:01:00.0");
	ck_assert_str_eq(b.name, "0000:01:00.0/BAR2");
	ck_assert_uint_eq(b.size, 0x300000000ULL);
	ck_assert_int_eq(b.model, PB_REVOCABLE);
	ck_assert_int_eq(b.state, PB_BUFFER_DEAD);
	ck_assert_int_eq(b.memattr, PB_WC);
	ck_assert_uint_eq(b.nr_ranges, 3);
	ck_assert_uint_eq(b.nr_importers, 2);
	ck_assert_uint_eq(b.nr_mmaps, 5);
	ck_assert_uint_eq(b.creator, 4711);
	ck_assert_uint_eq(b.nr_extents, 2);
	ck_assert_uint_eq(b.extents[0].start, 0x1000);
	ck_assert_uint_eq(b.extents[0].length, 0x2000);
	ck_assert_uint_eq(b.extents[1].start, 0x100000000ULL);
	ck_assert_uint_eq(b.nr_importer_names, 2);
	ck_assert_str_eq(b.importer_names[0], "iommu");
	ck_assert_str_eq(b.importer_names[1], "0000:02:00.0");
	free(b.extents);
	free(b.importer_names);
}
END_TEST

/* Begin a nested attribute; end it with end_nest(). */
static size_t begin_nest(unsigned int type)
{
	size_t at = message.n;

	put(type | NLA_F_NESTED, "", 0);
	return at;
}

static void end_nest(size_t at)
{
	struct nlattr head;

	memcpy(&head, message.bytes + at, sizeof(head));
	head.nla_len = (uint16_t)(message.n - at);
	memcpy(message.bytes + at, &head, sizeof(head));
}

START_TEST(importers_of_a_buffer)
{
	const uint64_t second = 1000000000;
	struct pb_importer_list list = { 0 };
	size_t at;

	/* The nests may come before the times. */
	message.n = 0;
	at = begin_nest(PEERBAR_A_ATTACHMENT);
	put_number(PEERBAR_A_ATTACHMENT_ID, 3, 8);
	put_text(PEERBAR_A_ATTACHMENT_DEVICE, "0000:06:00.0");
	put_text(PEERBAR_A_ATTACHMENT_DRIVER, "mlx5_core");
	put_number(PEERBAR_A_ATTACHMENT_FLAGS,
		   PEERBAR_IMPORTER_REVOCABLE | PEERBAR_IMPORTER_WAITED_FOR, 4);
	put_number(PEERBAR_A_ATTACHMENT_MAPS, 2, 4);
	put_number(PEERBAR_A_ATTACHMENT_BYTES, 0x4000, 8);
	put_number(PEERBAR_A_ATTACHMENT_ATTACHED_NS, 10 * second, 8);
	put_number(PEERBAR_A_ATTACHMENT_MAPPED_NS, 11 * second, 8);
	put_number(999, 5, 4);
	end_nest(at);
	at = begin_nest(PEERBAR_A_ATTACHMENT);
	put_number(PEERBAR_A_ATTACHMENT_ID, 4, 8);
	put_text(PEERBAR_A_ATTACHMENT_DEVICE, "iommu");
	put_text(PEERBAR_A_ATTACHMENT_DRIVER, "misc");
	put_number(PEERBAR_A_ATTACHMENT_FLAGS, PEERBAR_IMPORTER_ADDRESSES, 4);
	put_number(PEERBAR_A_ATTACHMENT_ATTACHED_NS, 15 * second, 8);
	end_nest(at);
	at = begin_nest(PEERBAR_A_FENCE);
	put_text(PEERBAR_A_FENCE_DRIVER, "amdgpu");
	put_text(PEERBAR_A_FENCE_TIMELINE, "gfx");
	put_number(PEERBAR_A_FENCE_CONTEXT, 8, 8);
	put_number(PEERBAR_A_FENCE_SEQNO, 77, 8);
	end_nest(at);
	put_number(PEERBAR_A_ID, 12, 8);
	put_text(PEERBAR_A_NAME, "0000:01:00.0/BAR2");
	put_number(PEERBAR_A_STATE, PEERBAR_STATE_DEAD, 4);
	put_number(PEERBAR_A_REVOKED_NS, 16 * second, 8);
	put_number(PEERBAR_A_NOW_NS, 20 * second, 8);
	ck_assert_int_eq(pb_parse_importers(message.bytes, message.n, &list), 0);
	ck_assert_uint_eq(list.n, 3);
	ck_assert_uint_eq(list.list[0].list_id, 12);
	ck_assert_str_eq(list.list[0].buffer, "0000:01:00.0/BAR2");
	ck_assert_int_eq(list.list[0].state, PB_BUFFER_DEAD);
	ck_assert_int_eq(list.list[0].kind, PB_IMPORTER_DEVICE);
	ck_assert_uint_eq(list.list[0].id, 3);
	ck_assert_str_eq(list.list[0].device, "0000:06:00.0");
	ck_assert_str_eq(list.list[0].driver, "mlx5_core");
	ck_assert_uint_eq(list.list[0].nr_maps, 2);
	ck_assert_uint_eq(list.list[0].bytes, 0x4000);
	ck_assert(list.list[0].revocable && list.list[0].waited_for);
	ck_assert(!list.list[0].addresses && !list.list[0].pinned);
	ck_assert_uint_eq(list.list[0].attached_ns, 10 * second);
	ck_assert_uint_eq(list.list[0].mapped_ns, 9 * second);
	ck_assert_uint_eq(list.list[0].waited_ns, 4 * second);
	/* It has nothing mapped, and no revoke waits for it. */
	ck_assert_uint_eq(list.list[1].list_id, 12);
	ck_assert(list.list[1].addresses && !list.list[1].waited_for);
	ck_assert_uint_eq(list.list[1].mapped_ns, 0);
	ck_assert_uint_eq(list.list[1].waited_ns, 0);
	/* A pending fence of a buffer that is not live is waited for. */
	ck_assert_int_eq(list.list[2].kind, PB_IMPORTER_FENCE);
	ck_assert_str_eq(list.list[2].device, "");
	ck_assert_str_eq(list.list[2].driver, "amdgpu");
	ck_assert_str_eq(list.list[2].timeline, "gfx");
	ck_assert_uint_eq(list.list[2].context, 8);
	ck_assert_uint_eq(list.list[2].id, 77);
	ck_assert(list.list[2].waited_for);
	/* Another buffer, live: appended, and nothing is waited for. */
	message.n = 0;
	put_number(PEERBAR_A_ID, 13, 8);
	put_number(PEERBAR_A_STATE, PEERBAR_STATE_LIVE, 4);
	put_number(PEERBAR_A_NOW_NS, 20 * second, 8);
	at = begin_nest(PEERBAR_A_FENCE);
	end_nest(at);
	ck_assert_int_eq(pb_parse_importers(message.bytes, message.n, &list), 0);
	ck_assert_uint_eq(list.n, 4);
	ck_assert_uint_eq(list.list[3].list_id, 13);
	ck_assert(!list.list[3].waited_for);
	message.n = 0;
	ck_assert_int_eq(pb_parse_importers(message.bytes, 0, &list), -EBADMSG);
	ck_assert_uint_eq(list.n, 4);
	free(list.list);
}
END_TEST

START_TEST(importers_of_no_buffer)
{
	struct pb_importer *list;
	unsigned int n;
	int ret = pb_fd_importers(-1, &list, &n, &err);

	/* Without the module, it is what is missing. */
	ck_assert(ret == -EBADF || ret == -ENOENT || ret == -EOPNOTSUPP);
	ck_assert_int_eq(err.code, -ret);
	ck_assert_ptr_nonnull(
		strstr(err.text, ret == -ENOENT ? "modprobe peerbar" : "descriptor -1"));
}
END_TEST

START_TEST(messages_that_are_wrong)
{
	static const char longer[] =
		"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
	struct pb_listed b;

	/* A message without an ID is invalid, and nothing is kept. */
	message.n = 0;
	ck_assert_int_eq(pb_parse_listed(message.bytes, 0, &b), -EBADMSG);
	put_range(0x1000, 0x2000);
	put_text(PEERBAR_A_IMPORTER, "iommu");
	ck_assert_int_eq(pb_parse_listed(message.bytes, message.n, &b), -EBADMSG);
	ck_assert_ptr_null(b.extents);
	/* A short number is ignored. A long or unterminated name is truncated. */
	message.n = 0;
	put(PEERBAR_A_SIZE, "abcd", 4);
	put(PEERBAR_A_STATE, "a", 1);
	put_number(PEERBAR_A_ID, 1, 8);
	put(PEERBAR_A_NAME, longer, sizeof(longer) - 1);
	put(PEERBAR_A_EXPORTER, "abc", 3);
	put(PEERBAR_A_DEVICE, "", 0);
	ck_assert_int_eq(pb_parse_listed(message.bytes, message.n, &b), 0);
	ck_assert_uint_eq(b.size, 0);
	ck_assert_int_eq(b.state, PB_BUFFER_UNKNOWN);
	ck_assert_uint_eq(strlen(b.name), sizeof(b.name) - 1);
	ck_assert_str_eq(b.exporter, "abc");
	ck_assert_str_eq(b.device, "");
}
END_TEST

/* Random messages, for the sanitizers. */
START_TEST(messages_of_noise)
{
	unsigned int seed = 42, round;

	for (round = 0; round < 20000; round++) {
		size_t i, n = (size_t)rand_r(&seed) % 256;
		/* Allocate the exact size, so that reads beyond it are detected. */
		uint32_t *noise = malloc((n + 3) / 4 * 4 + 4);
		struct pb_listed b;

		ck_assert_ptr_nonnull(noise);
		for (i = 0; i <= (n + 3) / 4; i++)
			noise[i] = (uint32_t)rand_r(&seed) &
				(rand_r(&seed) % 4 ? 0x000f003f : UINT32_MAX);
		noise = realloc(noise, n ? n : 1);
		if (!pb_parse_listed(noise, n, &b)) {
			free(b.extents);
			free(b.importer_names);
		}
		free(noise);
	}
}
END_TEST

START_TEST(lists_are_one_block)
{
	struct pb_listed *list = calloc(2, sizeof(*list)), *packed;

	ck_assert_ptr_nonnull(list);
	list[0].id = 1;
	list[1].id = 2;
	list[1].nr_extents = 2;
	list[1].extents = calloc(2, sizeof(*list[1].extents));
	list[1].extents[1].length = 0x1000;
	list[1].nr_importer_names = 1;
	list[1].importer_names = calloc(1, sizeof(*list[1].importer_names));
	strcpy(list[1].importer_names[0], "iommu");
	packed = pb_pack_listed(list, 2, sizeof(*list));
	ck_assert_ptr_nonnull(packed);
	ck_assert_uint_eq(packed[0].id, 1);
	ck_assert_ptr_null(packed[0].extents);
	ck_assert_ptr_null(packed[0].importer_names);
	ck_assert_uint_eq(packed[1].id, 2);
	ck_assert_uint_eq(packed[1].extents[1].length, 0x1000);
	ck_assert_str_eq(packed[1].importer_names[0], "iommu");
	free(packed);
	/* An empty list is valid. */
	packed = pb_pack_listed(NULL, 0, sizeof(*list));
	ck_assert_ptr_nonnull(packed);
	free(packed);
}
END_TEST

/* ---- without peerbar's modules ---- */

START_TEST(versions)
{
	char text[32];

	snprintf(text, sizeof(text), "%d.%d.%d", PB_VERSION_MAJOR, PB_VERSION_MINOR,
		 PB_VERSION_MICRO);
	ck_assert_str_eq(text, pb_version());
	ck_assert_int_eq(PB_VERSION,
			 PB_VERSION_MAJOR << 16 | PB_VERSION_MINOR << 8 | PB_VERSION_MICRO);
	ck_assert(PB_GUEST_NOWHERE == UINT64_MAX);
}
END_TEST

/* A program that was compiled with an older or a newer header. */
START_TEST(structures_that_grow)
{
	struct {
		struct pb_capability known;
		char more[40];
	} *newer;
	struct pb_capability *whole;
	struct pb_listed list[2] = { { .id = 1 }, { .id = 2, .nr_extents = 1 } }, *packed;
	const size_t older_size = offsetof(struct pb_capability, there),
		     odd = offsetof(struct pb_listed, importer_names) + 1;
	struct {
		char bytes[64];
	} copy, canary;
	unsigned int i, k, n;
	char *older;

	ok(pb_capabilities(&whole, &n, &err));
	ok(pb_capabilities_sized((struct pb_capability **)&older, older_size, &k, &err));
	ck_assert_uint_eq(k, n);
	for (i = 0; i < n; i++)
		ck_assert_mem_eq(older + i * older_size, &whole[i], older_size);
	free(older);
	ok(pb_capabilities_sized((struct pb_capability **)&newer, sizeof(*newer), &k, &err));
	ck_assert_uint_eq(k, n);
	for (i = 0; i < n; i++) {
		ck_assert_str_eq(newer[i].known.name, whole[i].name);
		for (k = 0; k < sizeof(newer[i].more); k++)
			ck_assert_int_eq(newer[i].more[k], 0);
	}
	free(newer);
	free(whole);
	/* Write all of the caller's structure, and no byte beyond it. */
	memset(&copy, 0x55, sizeof(copy));
	memset(&canary, 0x55, sizeof(canary));
	pb_fill_sized(&copy, 10, &(struct { char c[20]; }){ "0123456789abcdef" }, 20);
	ck_assert_mem_eq(&copy, "0123456789", 10);
	ck_assert_mem_eq(copy.bytes + 10, canary.bytes, sizeof(copy) - 10);
	pb_fill_sized(&copy, 30, &(struct { char c[20]; }){ "0123456789abcdef" }, 20);
	ck_assert_mem_eq(&copy, "0123456789abcdef\0\0\0\0\0\0\0\0\0\0\0\0\0", 30);
	ck_assert_mem_eq(copy.bytes + 30, canary.bytes, sizeof(copy) - 30);
	/* The data that elements point to is behind them and aligned, for any element size. */
	list[1].extents = calloc(1, sizeof(struct pb_extent));
	list[1].extents[0].length = 0x1000;
	packed = calloc(2, sizeof(list[0]));
	memcpy(packed, list, sizeof(list));
	packed = pb_pack_listed(packed, 2, odd);
	ck_assert_ptr_nonnull(packed);
	memcpy(&list[1], (char *)packed + odd, odd);
	ck_assert_uint_eq(list[1].id, 2);
	ck_assert_uint_eq((uintptr_t)list[1].extents % _Alignof(struct pb_extent), 0);
	ck_assert_uint_eq(list[1].extents[0].length, 0x1000);
	free(packed);
}
END_TEST

START_TEST(what_the_module_peerbar_is_for)
{
	struct pb_listed *list = NULL;
	struct pb_watch *watch = NULL;
	unsigned int n;

	/* The host may have the module. */
	if (!access("/dev/peerbar", F_OK))
		return;
	refused(pb_list_buffers(&list, &n, &err), ENOENT,
		"this needs the kernel module peerbar: modprobe peerbar");
	refused(pb_watch_open(&watch, &err), ENOENT,
		"this needs the kernel module peerbar: modprobe peerbar");
	ck_assert_ptr_null(list);
	ck_assert_ptr_null(watch);
}
END_TEST

START_TEST(capabilities)
{
	struct pb_capability *list;
	unsigned int i, n;

	ok(pb_capabilities(&list, &n, &err));
	ck_assert_uint_eq(n, PB_CAP_FTRACE + 1);
	for (i = 0; i < n; i++) {
		ck_assert(list[i].name && list[i].name[0]);
		ck_assert(list[i].purpose && list[i].purpose[0]);
		ck_assert_msg(list[i].there == !list[i].missing[0], "%s: there %d, missing '%s'",
			      list[i].name, list[i].there, list[i].missing);
	}
	ck_assert(list[PB_CAP_PEERBAR].there == (pb_module_abi() == 1));
	if (access("/dev/peerbar", F_OK)) {
		ck_assert_str_eq(list[PB_CAP_PEERBAR].missing, "the kernel module peerbar");
		ck_assert_str_eq(list[PB_CAP_IOMMUFD_SHIM].missing,
				 "the kernel module peerbar-iommufd");
		ck_assert(!list[PB_CAP_NETLINK].there);
	}
	if (access("/dev/iommu", F_OK))
		ck_assert(strstr(list[PB_CAP_IOMMUFD].missing, "CONFIG_IOMMUFD"));
	free(list);
}
END_TEST

/* ---- fdinfo ---- */

START_TEST(fdinfo_of_a_dmabuf)
{
	struct pb_fdinfo info;

	pb_parse_fdinfo("pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t3\nsize:\t2097152\ncount:\t1\nexp_name:\tvfio_pci_core\n"
			"name:\t0000:01:00.0 BAR 2\n",
			&info);
	ck_assert(info.is_dmabuf);
	ck_assert_uint_eq(info.size, 2097152);
	ck_assert_str_eq(info.exporter, "vfio_pci_core");
	ck_assert_str_eq(info.name, "0000:01:00.0 BAR 2");
	pb_parse_fdinfo("pos:\t0\nsize:\t4096\ncount:\t1\nexp_name:\tudmabuf\n", &info);
	ck_assert(info.is_dmabuf);
	ck_assert_str_eq(info.name, "");
}
END_TEST

START_TEST(fdinfo_of_something_else)
{
	struct pb_fdinfo info;

	pb_parse_fdinfo("pos:\t0\nflags:\t0100002\nmnt_id:\t24\nino:\t5\n", &info);
	ck_assert(!info.is_dmabuf);
	pb_parse_fdinfo("", &info);
	ck_assert(!info.is_dmabuf);
	pb_parse_fdinfo("size:\t4096\n", &info);
	ck_assert(!info.is_dmabuf);
	pb_parse_fdinfo("size:\tmany\nexp_name:\tudmabuf\n", &info);
	ck_assert(!info.is_dmabuf);
	pb_parse_fdinfo("size:\t99999999999999999999999\nexp_name:\tudmabuf\n", &info);
	ck_assert(!info.is_dmabuf);
}
END_TEST

/*
 * The holder chooses the name, which may contain newlines: it must not pass for the kernel's
 * fields.
 */
START_TEST(fdinfo_with_a_forged_name)
{
	struct pb_fdinfo info;

	pb_parse_fdinfo("size:\t4096\ncount:\t1\nexp_name:\txe\nname:\tx\nexp_name:\tudmabuf\nsize:\t1\n",
			&info);
	ck_assert(info.is_dmabuf);
	ck_assert_str_eq(info.exporter, "xe");
	ck_assert_uint_eq(info.size, 4096);
	/* Longer than the field. */
	pb_parse_fdinfo("size:\t4096\nexp_name:\tabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz\n",
			&info);
	ck_assert_uint_eq(strlen(info.exporter), sizeof(info.exporter) - 1);
}
END_TEST

/* ---- PCI addresses ---- */

START_TEST(bdf_good)
{
	char bdf[PB_BDF_LEN];

	ok(pb_parse_bdf("0000:01:00.0", bdf, &err));
	ck_assert_str_eq(bdf, "0000:01:00.0");
	ok(pb_parse_bdf("a:1F.7", bdf, &err));
	ck_assert_str_eq(bdf, "0000:0a:1f.7");
	ok(pb_parse_bdf("10000:e1:00.0", bdf, &err));
	ck_assert_str_eq(bdf, "10000:e1:00.0");
	ok(pb_parse_bdf("ffffffff:ff:1f.7", bdf, &err));
	ck_assert_str_eq(bdf, "ffffffff:ff:1f.7");
}
END_TEST

START_TEST(bdf_bad)
{
	static const char *const bad[] = { "",
					   "1",
					   "01:00",
					   "01:00.8",
					   "01:20.0",
					   "0000:01:00.0x",
					   "0000:01:00.0/..",
					   " 01:00.0",
					   "01:00.0 ",
					   "-1:00.0",
					   "0x1:00.0",
					   "../../etc",
					   "0000:001:00.0",
					   "100000000:01:00.0",
					   "01:00.00" };
	char bdf[PB_BDF_LEN];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refused(pb_parse_bdf(bad[i], bdf, &err), EINVAL, "no PCI address");
	refused(pb_parse_bdf(NULL, bdf, &err), EINVAL, "no PCI address");
}
END_TEST

/* ---- holders, and holes in an address space ---- */

#define RANGES(...)                    \
	(const struct pb_iova_range[]) \
	{                              \
		__VA_ARGS__            \
	}

/* Entries in /proc of a process that holds a device, and others. */
START_TEST(holders_in_proc)
{
	static const char bdf[] = "0000:01:00.0", cdev[] = "/dev/vfio/devices/vfio1";

	ck_assert(pb_link_is_buffer_of("/dmabuf:0000:01:00.0 BAR 2", bdf));
	ck_assert(pb_link_is_buffer_of("/dmabuf:0000:01:00.0/BAR2", bdf));
	ck_assert(!pb_link_is_buffer_of("/dmabuf:0000:01:00.01/BAR2", bdf));
	ck_assert(!pb_link_is_buffer_of("/dmabuf:0000:02:00.0 BAR 2", bdf));
	ck_assert(!pb_link_is_buffer_of("/dmabuf:", bdf));
	ck_assert(!pb_link_is_buffer_of("/home/0000:01:00.0 BAR 2", bdf));

	ck_assert(
		pb_fdinfo_is_device("pos:\t0\nvfio-device-syspath: /sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0\n",
				    bdf));
	ck_assert(
		!pb_fdinfo_is_device("pos:\t0\nvfio-device-syspath: /sys/devices/pci0000:00/0000:01:00.0/0000:02:00.0\n",
				     bdf));
	ck_assert(
		!pb_fdinfo_is_device("pos:\t0\nvfio-device-syspath: /sys/devices/pci0000:00/10000:01:00.0\n",
				     bdf));
	ck_assert(!pb_fdinfo_is_device("pos:\t0\nflags: /sys/devices/pci0000:00/0000:01:00.0\n",
				       bdf));
	ck_assert(!pb_fdinfo_is_device("vfio-device-syspath:", bdf));
	ck_assert(!pb_fdinfo_is_device("", bdf));

	ck_assert(
		pb_map_is_device("7f00-7f01 rw-s 20000000000 00:06 295   /dev/vfio/devices/vfio1\n",
				 cdev, bdf));
	ck_assert(
		!pb_map_is_device("7f00-7f01 rw-s 20000000000 00:06 295   /dev/vfio/devices/vfio11\n",
				  cdev, bdf));
	ck_assert(
		pb_map_is_device("7f00-7f01 rw-s 20000000000 00:0e 7   anon_inode:[vfio-pci:0000:01:00.0/BAR2]\n",
				 cdev, bdf));
	ck_assert(
		!pb_map_is_device("7f00-7f01 rw-s 20000000000 00:0e 7   anon_inode:[vfio-pci:0000:02:00.0/BAR2]\n",
				  cdev, bdf));
	ck_assert(!pb_map_is_device("7f00-7f01 rw-p 00000000 00:00 0 \n", "", bdf));
	ck_assert(!pb_map_is_device("", "", bdf));
}
END_TEST

START_TEST(holders_in_a_sentence)
{
	struct pb_holder list[6] = {
		{ .pid = 10, .kind = PB_HOLDER_DEVICE, .command = "qemu" },
		{ .pid = 10, .kind = PB_HOLDER_MAPPING, .command = "qemu" },
		{ .pid = 11, .kind = PB_HOLDER_BUFFER, .command = "importer" },
		{ .pid = 12, .kind = PB_HOLDER_GROUP, .command = "old" },
		{ .pid = 13, .kind = PB_HOLDER_UNKNOWN, .command = "secret" },
		{ .pid = getpid(), .kind = PB_HOLDER_MAPPING, .command = "unit" },
	};
	struct pb_holder many[9] = { 0 };
	char text[160], self[32];
	unsigned int i;

	snprintf(self, sizeof(self), "this process, %d (unit)", (int)getpid());
	ck_assert(pb_describe_holders(list, 6, false, text, sizeof(text)));
	ck_assert(!strncmp(text, "process 10 (qemu), this process", 31) && strstr(text, self));
	ck_assert(pb_describe_holders(list, 6, true, text, sizeof(text)));
	ck_assert(!strncmp(text, "process 10 (qemu), process 12 (old), this process", 49));
	/* A dma-buf does not keep the device in use. */
	ck_assert(!pb_describe_holders(list + 2, 1, true, text, sizeof(text)));
	ck_assert_str_eq(text, "");
	ck_assert(!pb_describe_holders(NULL, 0, true, text, sizeof(text)));
	for (i = 0; i < 9; i++) {
		many[i].pid = 4000000 + (int)i;
		memset(many[i].command, 'x', sizeof(many[i].command) - 1);
	}
	ck_assert(pb_describe_holders(many, 9, false, text, sizeof(text)));
	ck_assert_msg(strstr(text, " and 6 more"), "%s", text);
}
END_TEST

START_TEST(hole_first_fit)
{
	uint64_t iova;

	/* Empty. */
	ck_assert_int_eq(pb_find_hole(RANGES({ 0, UINT64_MAX }), 1, NULL, 0, 0x1000, 0x1000, 0x1000,
				      &iova),
			 0);
	ck_assert_uint_eq(iova, 0x1000);
	/* Exactly between two. */
	ck_assert_int_eq(pb_find_hole(RANGES({ 0, 0xffffff }), 1,
				      RANGES({ 0, 0x1fff }, { 0x4000, 0xffffff }), 2, 0, 0x2000,
				      0x1000, &iova),
			 0);
	ck_assert_uint_eq(iova, 0x2000);
	/* One page too small. */
	ck_assert_int_eq(pb_find_hole(RANGES({ 0, 0xffffff }), 1,
				      RANGES({ 0, 0x1fff }, { 0x4000, 0xffffff }), 2, 0, 0x3000,
				      0x1000, &iova),
			 -ENOSPC);
	/* Behind all, up to the last byte of the aperture. */
	ck_assert_int_eq(pb_find_hole(RANGES({ 0, 0xffff }), 1, RANGES({ 0, 0x7fff }), 1, 0, 0x8000,
				      0x1000, &iova),
			 0);
	ck_assert_uint_eq(iova, 0x8000);
}
END_TEST

START_TEST(hole_aligned)
{
	uint64_t iova;

	ck_assert_int_eq(pb_find_hole(RANGES({ 0, UINT64_MAX }), 1, RANGES({ 0x200000, 0x200fff }),
				      1, 0x1000, 0x200000, 0x200000, &iova),
			 0);
	ck_assert_uint_eq(iova, 0x400000);
	/* Aligning must not wrap around. */
	ck_assert_int_eq(pb_find_hole(RANGES({ UINT64_MAX - 0xfff, UINT64_MAX }), 1, NULL, 0,
				      UINT64_MAX - 5, 1, 0x1000, &iova),
			 -ENOSPC);
}
END_TEST

START_TEST(hole_in_a_torn_aperture)
{
	uint64_t iova;

	/*
	 * The second range, because the first is too small. The gap, e.g. the MSI window, is not
	 * used.
	 */
	ck_assert_int_eq(pb_find_hole(RANGES({ 0, 0xfedfffff }, { 0xfef00000, UINT64_MAX >> 16 }),
				      2, RANGES({ 0, 0xfecfffff }), 1, 0x1000, 0x200000, 0x1000,
				      &iova),
			 0);
	ck_assert_uint_eq(iova, 0xfef00000);
	/* The whole 64-bit space is in use. */
	ck_assert_int_eq(pb_find_hole(RANGES({ 0, UINT64_MAX }), 1, RANGES({ 0, UINT64_MAX }), 1, 0,
				      0x1000, 0x1000, &iova),
			 -ENOSPC);
	/* No aperture. */
	ck_assert_int_eq(pb_find_hole(NULL, 0, NULL, 0, 0, 0x1000, 0x1000, &iova), -ENOSPC);
}
END_TEST

/* Compare with a search that tries every page. */
START_TEST(hole_against_brute_force)
{
	unsigned int seed = 42, round;

	for (round = 0; round < 20000; round++) {
		struct pb_iova_range aperture[2], taken[6];
		uint64_t at = 0, length, alignment, from, iova = 0, want = UINT64_MAX, p;
		unsigned int i, n = rand_r(&seed) % 6;

		aperture[0].first = (uint64_t)(rand_r(&seed) % 4) * 0x1000;
		aperture[0].last = aperture[0].first + (uint64_t)(1 + rand_r(&seed) % 30) * 0x1000 -
			1;
		aperture[1].first = aperture[0].last + 1 + (uint64_t)(rand_r(&seed) % 4) * 0x1000;
		aperture[1].last = aperture[1].first + (uint64_t)(1 + rand_r(&seed) % 30) * 0x1000 -
			1;
		for (i = 0; i < n; i++) {
			taken[i].first = at + (uint64_t)(rand_r(&seed) % 6) * 0x1000;
			taken[i].last = taken[i].first +
				(uint64_t)(1 + rand_r(&seed) % 6) * 0x1000 - 1;
			at = taken[i].last + 1;
		}
		length = (uint64_t)(1 + rand_r(&seed) % 8) * 0x1000;
		alignment = 0x1000ULL << rand_r(&seed) % 4;
		from = (uint64_t)(rand_r(&seed) % 20) * 0x1000;
		for (p = 0; p < 0x80000 && want == UINT64_MAX; p += 0x1000) {
			bool fits = !(p & (alignment - 1)) && p >= from &&
				((p >= aperture[0].first && p + length - 1 <= aperture[0].last) ||
				 (p >= aperture[1].first && p + length - 1 <= aperture[1].last));

			for (i = 0; fits && i < n; i++)
				fits = p > taken[i].last || p + length - 1 < taken[i].first;
			if (fits)
				want = p;
		}
		if (want == UINT64_MAX) {
			ck_assert_int_eq(pb_find_hole(aperture, 2, taken, n, from, length,
						      alignment, &iova),
					 -ENOSPC);
		} else {
			ck_assert_int_eq(pb_find_hole(aperture, 2, taken, n, from, length,
						      alignment, &iova),
					 0);
			ck_assert_uint_eq(iova, want);
		}
	}
}
END_TEST

/* ---- calls that need no device ---- */

START_TEST(descriptors_that_are_no_buffers)
{
	struct pb_buffer *buffer = NULL;
	int fd;

	refused(pb_buffer_from_fd(-1, &buffer, &err), EBADF, "not open");
	refused(pb_buffer_from_fd(12345, &buffer, &err), EBADF, "12345");
	fd = memfd_create("x", MFD_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	refused(pb_buffer_from_fd(fd, &buffer, &err), EINVAL, "no dma-buf");
	close(fd);
	ck_assert_ptr_null(buffer);
}
END_TEST

START_TEST(descriptors_that_are_no_iommufd)
{
	struct pb_iommu *iommu = NULL;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	refused(pb_iommu_from_fd(-1, &iommu, &err), EBADF, "not open");
	refused(pb_iommu_from_fd(fd, &iommu, &err), EINVAL, "no iommufd");
	close(fd);
	ck_assert_ptr_null(iommu);
}
END_TEST

/* ---- positions of BARs in a guest ---- */

START_TEST(what_a_bar_claims)
{
	struct pb_span claim;

	ck_assert(pb_bar_claim(0x10000000, 0x10000, false, 4096, &claim));
	ck_assert_uint_eq(claim.first, 0x10000000);
	ck_assert_uint_eq(claim.last, 0x1000ffff);
	/* A BAR smaller than a page claims the page. */
	ck_assert(pb_bar_claim(0x10000300, 0x100, false, 4096, &claim));
	ck_assert_uint_eq(claim.first, 0x10000000);
	ck_assert_uint_eq(claim.last, 0x10000fff);
	ck_assert(!pb_bar_claim(PB_GUEST_NOWHERE, 0x10000, true, 4096, &claim));
	ck_assert(!pb_bar_claim(0x10000000, 0, true, 4096, &claim));
	/* During sizing all address bits are ones. */
	ck_assert(!pb_bar_claim(0xffff0000, 0x10000, false, 4096, &claim));
	ck_assert(!pb_bar_claim(0xffffffffffff0000, 0x10000, true, 4096, &claim));
	ck_assert(!pb_bar_claim(0xffffffffffff0000, 0x10000, false, 4096, &claim));
	/* The lower half of a 64-bit BAR is not enough. */
	ck_assert(pb_bar_claim(0xffff0000, 0x10000, true, 4096, &claim));
	ck_assert_uint_eq(claim.last, 0xffffffff);
	ck_assert(pb_bar_claim(0x1ffff0000, 0x10000, false, 4096, &claim));
	/* A range that would wrap around claims nothing. */
	ck_assert(!pb_bar_claim(0xffffffffffff0000, 0x20000, true, 4096, &claim));
	ck_assert(pb_bar_claim(0, 0x10000, true, 4096, &claim));
	ck_assert_uint_eq(claim.first, 0);
}
END_TEST

START_TEST(runs_of_spans)
{
	const struct pb_span spans[] = {
		{ .first = 10, .last = 19 },
		{ .first = 15, .last = 39 },
		{ .first = 30, .last = UINT64_MAX },
	};
	uint64_t end;

	ck_assert_int_eq(pb_span_run(spans, 3, 0, 100, &end), -1);
	ck_assert_uint_eq(end, 9);
	ck_assert_int_eq(pb_span_run(spans, 3, 10, 100, &end), 0);
	ck_assert_uint_eq(end, 19);
	/* The earlier span takes precedence. */
	ck_assert_int_eq(pb_span_run(spans, 3, 17, 100, &end), 0);
	ck_assert_uint_eq(end, 19);
	ck_assert_int_eq(pb_span_run(spans, 3, 20, 100, &end), 1);
	ck_assert_uint_eq(end, 39);
	ck_assert_int_eq(pb_span_run(spans, 3, 40, UINT64_MAX, &end), 2);
	ck_assert_uint_eq(end, UINT64_MAX);
	/* Not beyond the requested end. */
	ck_assert_int_eq(pb_span_run(spans, 3, 11, 12, &end), 0);
	ck_assert_uint_eq(end, 12);
	ck_assert_int_eq(pb_span_run(spans, 3, 5, 5, &end), -1);
	ck_assert_uint_eq(end, 5);
	ck_assert_int_eq(pb_span_run(NULL, 0, 0, UINT64_MAX, &end), -1);
	ck_assert_uint_eq(end, UINT64_MAX);
	/* A later span that begins before an earlier one ends where that begins. */
	ck_assert_int_eq(pb_span_run((struct pb_span[]){ { .first = 5, .last = 6 },
							 { .first = 0, .last = 9 } },
				     2, 0, 20, &end),
			 1);
	ck_assert_uint_eq(end, 4);
}
END_TEST

/* Divide a line into runs, and compare each number with a search of all spans. */
START_TEST(runs_against_brute_force)
{
	unsigned int round, n, i;
	struct pb_span spans[6];

	srand(7);
	for (round = 0; round < 20000; round++) {
		uint64_t at, end, x;

		n = (unsigned int)rand() % 7;
		for (i = 0; i < n; i++) {
			spans[i].first = (uint64_t)rand() % 40;
			spans[i].last = spans[i].first + (uint64_t)rand() % 12;
		}
		for (at = 0;; at = end + 1) {
			int found = pb_span_run(spans, n, at, 45, &end);

			ck_assert(end >= at && end <= 45);
			for (x = at; x <= end; x++) {
				int first = -1;

				for (i = 0; i < n && first < 0; i++)
					if (x >= spans[i].first && x <= spans[i].last)
						first = (int)i;
				ck_assert_int_eq(first, found);
			}
			if (end == 45)
				break;
		}
	}
}
END_TEST

START_TEST(gaps_of_an_aperture)
{
	const struct pb_iova_range two[] = {
		{ 0x1000, 0xfedfffff },
		{ 0xfef00000, 0x7fffffffff },
	};
	struct pb_iova_range gap;

	ck_assert(!pb_find_gap(two, 2, 0x1000, 0xfedfffff, &gap));
	ck_assert(!pb_find_gap(two, 2, 0x5000, 0x5fff, &gap));
	ck_assert(!pb_find_gap(two, 2, 0xfef00000, 0x7fffffffff, &gap));
	ck_assert(pb_find_gap(two, 2, 0, 0, &gap));
	ck_assert_uint_eq(gap.first, 0);
	ck_assert_uint_eq(gap.last, 0xfff);
	ck_assert(pb_find_gap(two, 2, 0x1000, UINT64_MAX, &gap));
	ck_assert_uint_eq(gap.first, 0xfee00000);
	ck_assert_uint_eq(gap.last, 0xfeefffff);
	ck_assert(pb_find_gap(two, 2, 0xfee00000, 0xfee00000, &gap));
	ck_assert_uint_eq(gap.first, 0xfee00000);
	ck_assert(pb_find_gap(two, 2, 0xfef00000, 0x8000000000, &gap));
	ck_assert_uint_eq(gap.first, 0x8000000000);
	ck_assert_uint_eq(gap.last, UINT64_MAX);
	ck_assert(pb_find_gap(two, 2, 1ULL << 62, 1ULL << 63, &gap));
	ck_assert_uint_eq(gap.first, 0x8000000000);
	/* An aperture of everything, of nothing, and of adjacent ranges. */
	ck_assert(!pb_find_gap((struct pb_iova_range[]){ { 0, UINT64_MAX } }, 1, 0, UINT64_MAX,
			       &gap));
	ck_assert(pb_find_gap(NULL, 0, 5, 5, &gap));
	ck_assert(!gap.first && gap.last == UINT64_MAX);
	ck_assert(!pb_find_gap((struct pb_iova_range[]){ { 0, 9 }, { 10, 20 } }, 2, 5, 15, &gap));
}
END_TEST

START_TEST(a_guest_without_devices)
{
	struct pb_guest_range report, *list = NULL;
	struct pb_guest *guest;
	unsigned int n;

	ok(pb_guest_create(&guest, &err));
	ok(pb_guest_sync(guest, PB_GUEST_RETRY | PB_GUEST_REMAKE, &err));
	ck_assert_uint_eq(pb_guest_nr_refused(guest), 0);
	refused(pb_guest_sync(guest, 64, &err), EINVAL, "0x40");
	n = 1;
	ok(pb_guest_check(guest, &n, &err));
	ck_assert_uint_eq(n, 0);
	ck_assert(!pb_guest_next_report(guest, &report));
	n = 1;
	ok(pb_guest_list(guest, &list, &n, &err));
	ck_assert_uint_eq(n, 0);
	ck_assert_int_ge(pb_guest_fd(guest), 0);
	free(list);
	pb_guest_destroy(guest);
	pb_guest_destroy(NULL);
	ck_assert_int_eq(pb_guest_remove_device(NULL, &err), 0);
	ck_assert_str_eq(pb_guest_state_name(PB_GUEST_MAPPED), "MAPPED");
	ck_assert_str_eq(pb_guest_state_name(PB_GUEST_OFF), "OFF");
	ck_assert_str_eq(pb_guest_state_name(PB_GUEST_UNPLACED), "UNPLACED");
	ck_assert_str_eq(pb_guest_state_name(PB_GUEST_TRAPPED), "TRAPPED");
	ck_assert_str_eq(pb_guest_state_name(PB_GUEST_OVERLAP), "OVERLAP");
	ck_assert_str_eq(pb_guest_state_name(PB_GUEST_REFUSED), "REFUSED");
}
END_TEST

/* ---- guests with fake devices: the configuration space is a file, and exports fail ---- */

struct fake {
	struct pb_device device;
	struct pb_guest_device *guest_device;
};

#define FAKE_MSIX 0x40

/*
 * BAR 0 of 16 KiB with an MSI-X table in its third page, BAR 2 of 64 KiB and 64 bits, BAR 4 of 256
 * bytes.
 */
static void fake_up(struct fake *fake, const char *bdf)
{
	static const uint64_t sizes[PB_BARS] = { 0x4000, 0, 0x10000, 0, 0x100, 0 };
	uint8_t config[256] = { 0 };
	int i;

	memset(fake, 0, sizeof(*fake));
	fake->device.fd = memfd_create("config", MFD_CLOEXEC);
	ck_assert_int_ge(fake->device.fd, 0);
	config[0x18] = 0x4;
	config[FAKE_MSIX] = 0x11;
	config[FAKE_MSIX + 2] = 3;    /* four entries */
	config[FAKE_MSIX + 5] = 0x20; /* the table: BAR 0, 0x2000 */
	config[FAKE_MSIX + 9] = 0x28; /* pending bits: BAR 0, 0x2800 */
	ck_assert_int_eq(pwrite(fake->device.fd, config, sizeof(config), 0), sizeof(config));
	fake->device.cap_msix = FAKE_MSIX;
	fake->device.nr_regions = 8;
	fake->device.regions[PB_REGION_CONFIG].size = sizeof(config);
	for (i = 0; i < PB_BARS; i++) {
		fake->device.regions[i].size = sizes[i];
		fake->device.memory_bar[i] = sizes[i];
	}
	fake->device.origin = pb_origin_new(bdf);
	snprintf(fake->device.bdf, sizeof(fake->device.bdf), "%s", bdf);
	pthread_mutex_init(&fake->device.lock, NULL);
}

static void fake_down(struct fake *fake)
{
	close(fake->device.fd);
	pb_origin_put(fake->device.origin);
	pthread_mutex_destroy(&fake->device.lock);
}

static struct pb_iommu no_iommu;
static struct pb_ioas no_ioas = { .iommu = &no_iommu, .id = 7, .lock = PTHREAD_MUTEX_INITIALIZER };

/* Return the only range of a BAR. */
static struct pb_guest_range only_range(struct pb_guest *guest, const struct fake *fake,
					unsigned int bar)
{
	struct pb_guest_range *list, found = { 0 };
	unsigned int i, n;
	int times = 0;

	ok(pb_guest_list(guest, &list, &n, &err));
	for (i = 0; i < n; i++) {
		if (list[i].device != fake->guest_device || list[i].bar != bar)
			continue;
		found = list[i];
		times++;
	}
	free(list);
	ck_assert_int_eq(times, 1);
	return found;
}

START_TEST(a_device_that_cannot_be_exported)
{
	const struct pb_guest_trap wrong[] = {
		{ 6, 0, 1 }, { 1, 0, 1 }, { 0, 0x4000, 1 }, { 0, 0x3fff, 2 }, { 0, 0, 0 },
	};
	struct pb_guest_device *again = NULL;
	struct pb_guest_range range;
	struct pb_guest *guest;
	struct fake fake;
	unsigned int i;

	fake_up(&fake, "0000:77:00.0");
	ok(pb_guest_create(&guest, &err));
	ok(pb_guest_add_ioas(guest, &no_ioas, 0, &err));
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		refused(pb_guest_add_device(guest, &fake.device, &wrong[i], 1, NULL, &again, &err),
			EINVAL, "not inside a BAR");
	ok(pb_guest_add_device(guest, &fake.device, NULL, 0, &fake, &fake.guest_device, &err));
	refused(pb_guest_add_device(guest, &fake.device, NULL, 0, NULL, &again, &err), EEXIST,
		"0000:77:00.0 was added to this guest");
	refused(pb_guest_set_bar(fake.guest_device, 2, 0x800, &err), EINVAL, "0x1000");
	refused(pb_guest_set_bar(fake.guest_device, 4, 0x10080, &err), EINVAL, "0x100");
	refused(pb_guest_set_bar(fake.guest_device, 1, 0x10000, &err), EINVAL, "no BAR 1");
	range = only_range(guest, &fake, 2);
	ck_assert_int_eq(range.state, PB_GUEST_UNPLACED);
	ck_assert(range.address == PB_GUEST_NOWHERE && range.length == 0x10000 && !range.ioas &&
		  range.data == &fake);
	ok(pb_guest_set_bar(fake.guest_device, 2, 0x100000, &err));
	ck_assert_int_eq(only_range(guest, &fake, 2).state, PB_GUEST_OFF);
	/* The failure is reported once, however often the guest tries. */
	for (i = 0; i < 3; i++) {
		ok(pb_guest_set_decoding(fake.guest_device, true, &err));
		range = only_range(guest, &fake, 2);
		ck_assert_int_eq(range.state, PB_GUEST_REFUSED);
		ck_assert_int_eq(range.why.code, EOPNOTSUPP);
		ck_assert(range.address == 0x100000 && range.iova == 0x100000 &&
			  range.ioas == &no_ioas && !range.offset);
		ok(pb_guest_sync(guest, 0, &err));
		ck_assert_uint_eq(pb_guest_nr_refused(guest), 1);
		ok(pb_guest_set_decoding(fake.guest_device, false, &err));
	}
	ck_assert(pb_guest_next_report(guest, &range));
	ck_assert_int_eq(range.state, PB_GUEST_REFUSED);
	ck_assert_ptr_nonnull(strstr(range.why.text, "cannot export BAR 2 of 0000:77:00.0"));
	ck_assert(!pb_guest_next_report(guest, &range));
	/* Not while it is in D3hot, or during a reset. */
	ok(pb_guest_set_decoding(fake.guest_device, true, &err));
	ok(pb_guest_set_power(fake.guest_device, false, &err));
	ck_assert_int_eq(only_range(guest, &fake, 2).state, PB_GUEST_OFF);
	ok(pb_guest_set_power(fake.guest_device, true, &err));
	ck_assert_int_eq(only_range(guest, &fake, 2).state, PB_GUEST_REFUSED);
	ok(pb_guest_reset_begin(fake.guest_device, &err));
	ck_assert_int_eq(only_range(guest, &fake, 2).state, PB_GUEST_OFF);
	ok(pb_guest_reset_done(fake.guest_device, &err));
	ck_assert_int_eq(only_range(guest, &fake, 2).state, PB_GUEST_OFF);
	ok(pb_guest_set_bar(fake.guest_device, 2, ~0xffffULL, &err));
	ok(pb_guest_set_decoding(fake.guest_device, true, &err));
	ck_assert_int_eq(only_range(guest, &fake, 2).state, PB_GUEST_UNPLACED);
	/* Removing a device discards its reports. */
	ok(pb_guest_set_bar(fake.guest_device, 2, 0x100000, &err));
	ok(pb_guest_sync(guest, PB_GUEST_RETRY, &err));
	ck_assert_uint_eq(pb_guest_nr_refused(guest), 1);
	ok(pb_guest_remove_device(fake.guest_device, &err));
	ck_assert(!pb_guest_next_report(guest, &range));
	pb_guest_destroy(guest);
	fake_down(&fake);
}
END_TEST

/*
 * The kernel fails to unmap a mapping: nothing is mapped in its place, and the device cannot be
 * removed until it is gone.
 */
START_TEST(what_the_kernel_does_not_unmap)
{
	struct pb_mapping *mapping = calloc(1, sizeof(*mapping));
	struct guest_range *range = calloc(1, sizeof(*range));
	struct guest_window *window;
	struct guest_space *space;
	struct pb_guest_range report;
	struct pb_guest *guest;
	struct fake fake;

	ck_assert(mapping && range);
	fake_up(&fake, "0000:77:00.0");
	LIST_INIT(&no_ioas.mappings);
	TAILQ_INIT(&no_ioas.events.revoked);
	no_iommu.fd = fake.device.fd; /* supports no ioctl */
	ok(pb_guest_create(&guest, &err));
	ok(pb_guest_add_ioas(guest, &no_ioas, 0, &err));
	ok(pb_guest_add_device(guest, &fake.device, NULL, 0, &fake, &fake.guest_device, &err));
	ok(pb_guest_set_bar(fake.guest_device, 2, 0x100000, &err));
	space = LIST_FIRST(&guest->spaces);
	window = LIST_FIRST(&space->windows);
	range->bar = &fake.guest_device->bars[2];
	range->first = 0x100000;
	range->last = 0x10ffff;
	range->mapping = mapping;
	mapping->ioas = &no_ioas;
	mapping->iova = 0x100000;
	mapping->length = 0x10000;
	mapping->mapped = true;
	LIST_INSERT_HEAD(&no_ioas.mappings, mapping, in_ioas);
	LIST_INSERT_HEAD(&window->ranges, range, in_window);
	/* Decoding is off, so it should be unmapped. */
	ok(pb_guest_sync(guest, 0, &err));
	ck_assert(pb_guest_next_report(guest, &report));
	ck_assert_int_eq(report.state, PB_GUEST_REFUSED);
	ck_assert_ptr_nonnull(strstr(report.why.text, "cannot unmap"));
	ck_assert(!pb_guest_next_report(guest, &report));
	refused(pb_guest_remove_ioas(guest, &no_ioas, &err), EBUSY, "call again");
	refused(pb_guest_remove_device(fake.guest_device, &err), EBUSY, "call again");
	/* Another BAR at that address is not mapped. */
	ok(pb_guest_set_bar(fake.guest_device, 0, 0x100000, &err));
	ok(pb_guest_set_bar(fake.guest_device, 2, 0x200000, &err));
	ok(pb_guest_set_decoding(fake.guest_device, true, &err));
	ck_assert_int_eq(only_range(guest, &fake, 2).state, PB_GUEST_REFUSED);
	ck_assert_ptr_eq(LIST_FIRST(&no_ioas.mappings), mapping);
	ok(pb_guest_set_decoding(fake.guest_device, false, &err));
	/* Now it can be unmapped. */
	mapping->mapped = false;
	ok(pb_guest_remove_device(fake.guest_device, &err));
	ck_assert_ptr_null(LIST_FIRST(&no_ioas.mappings));
	ok(pb_guest_remove_ioas(guest, &no_ioas, &err));
	pb_guest_destroy(guest);
	fake_down(&fake);
}
END_TEST

/* Compute the state of a page that a BAR claims, from all BARs. */
static enum pb_guest_state state_of(const uint64_t at[2][PB_BARS], const bool on[2], int device,
				    unsigned int bar, uint64_t page)
{
	static const uint64_t pages[PB_BARS] = { 4, 0, 16, 0, 1, 0 };
	unsigned int b;
	int d;

	for (d = 0; d < 2; d++)
		for (b = 0; b < PB_BARS; b++)
			if ((d != device || b != bar) && on[d] && pages[b] &&
			    at[d][b] != PB_GUEST_NOWHERE && page >= at[d][b] / 4096 &&
			    page < at[d][b] / 4096 + pages[b])
				return PB_GUEST_OVERLAP;
	if (bar == 4 || (!bar && page == at[device][0] / 4096 + 2))
		return PB_GUEST_TRAPPED;
	return PB_GUEST_REFUSED;
}

START_TEST(guests_against_brute_force)
{
	static const uint64_t unit[PB_BARS] = { 4096, 0, 4096, 0, 256, 0 };
	struct pb_guest_window window = {
		.iova = 0x5000000, .address = 0x10000, .length = 0x18000, .flags = PB_MAP_READ
	};
	struct pb_ioas other = { .iommu = &no_iommu, .id = 8 };
	uint64_t at[2][PB_BARS];
	bool on[2] = { false, false };
	struct pb_guest *guest;
	struct fake fakes[2];
	unsigned int k, n;
	int round, i, d;

	srand(11);
	ok(pb_guest_create(&guest, &err));
	ok(pb_guest_add_ioas(guest, &no_ioas, 0, &err));
	ok(pb_guest_add_ioas(guest, &other, PB_GUEST_WINDOWS, &err));
	ok(pb_guest_add_window(guest, &other, &window, &err));
	for (d = 0; d < 2; d++) {
		fake_up(&fakes[d], d ? "0000:77:00.0" : "0000:78:00.0");
		ok(pb_guest_add_device(guest, &fakes[d].device, NULL, 0, &fakes[d],
				       &fakes[d].guest_device, &err));
		for (i = 0; i < PB_BARS; i++)
			at[d][i] = PB_GUEST_NOWHERE;
	}
	for (round = 0; round < 3000; round++) {
		unsigned int bar = 2 * ((unsigned int)rand() % 3);
		struct pb_guest_range *list, report;
		uint64_t covered[2] = { 0, 0 }, expected[2] = { 0, 0 };

		d = rand() % 2;
		if (rand() % 3) {
			at[d][bar] = rand() % 10 ?
				(uint64_t)rand() % (0x40000 / unit[bar]) * unit[bar] :
				PB_GUEST_NOWHERE;
			ok(pb_guest_set_bar(fakes[d].guest_device, bar, at[d][bar], &err));
		} else {
			on[d] = rand() % 4;
			ok(pb_guest_set_decoding(fakes[d].guest_device, on[d], &err));
		}
		ok(pb_guest_list(guest, &list, &n, &err));
		ck_assert_uint_gt(n, 0);
		for (k = 0; k < n; k++) {
			int which = list[k].data == &fakes[1];
			uint64_t page;

			if (!list[k].ioas) {
				ck_assert_int_eq(list[k].state,
						 at[which][list[k].bar] == PB_GUEST_NOWHERE ?
							 PB_GUEST_UNPLACED :
							 PB_GUEST_OFF);
				ck_assert(!on[which] || list[k].state == PB_GUEST_UNPLACED);
				continue;
			}
			covered[list[k].ioas == &other] += list[k].length;
			ck_assert_uint_eq(list[k].iova,
					  list[k].ioas == &other ?
						  list[k].address - 0x10000 + 0x5000000 :
						  list[k].address);
			for (page = list[k].address / 4096;
			     page < (list[k].address + list[k].length) / 4096; page++)
				ck_assert_int_eq(list[k].state,
						 state_of(at, on, which, list[k].bar, page));
		}
		free(list);
		/* The ranges must be complete. */
		for (i = 0; i < 2 * PB_BARS; i++) {
			static const uint64_t pages[PB_BARS] = { 4, 0, 16, 0, 1, 0 };
			uint64_t base = at[i / PB_BARS][i % PB_BARS], page;

			if (!on[i / PB_BARS] || !pages[i % PB_BARS] || base == PB_GUEST_NOWHERE)
				continue;
			for (page = base / 4096; page < base / 4096 + pages[i % PB_BARS]; page++) {
				expected[0] += 4096;
				expected[1] += page >= 0x10 && page < 0x28 ? 4096 : 0;
			}
		}
		ck_assert_uint_eq(covered[0], expected[0]);
		ck_assert_uint_eq(covered[1], expected[1]);
		if (round % 100 == 0)
			while (pb_guest_next_report(guest, &report))
				ck_assert_int_eq(report.why.code, EOPNOTSUPP);
	}
	pb_guest_destroy(guest);
	fake_down(&fakes[0]);
	fake_down(&fakes[1]);
}
END_TEST

START_TEST(null_objects_can_be_freed)
{
	pb_buffer_close(NULL);
	pb_device_close(NULL);
	pb_ioas_destroy(NULL);
	pb_iommu_close(NULL);
	pb_watch_close(NULL);
	ck_assert_int_eq(pb_unmap(NULL, &err), 0);
}
END_TEST

START_TEST(version)
{
	ck_assert_str_eq(pb_version(), PACKAGE_VERSION);
}
END_TEST

/* ---- operands on the tool's command line ---- */

START_TEST(numbers_good)
{
	static const struct {
		const char *text;
		uint64_t value;
	} good[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "0x1000", 4096 },
		{ "4K", 4096 },
		{ "2M", 2 << 20 },
		{ "1G", 1 << 30 },
		{ "1T", 1ULL << 40 },
		{ "3t", 3ULL << 40 },
		{ "0xffffffffffffffff", UINT64_MAX },
		{ "18446744073709551615", UINT64_MAX },
	};
	char why[200];
	uint64_t v;
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ck_assert_msg(!pbt_parse_number(good[i].text, &v, why, sizeof(why)), "%s: %s",
			      good[i].text, why);
		ck_assert_uint_eq(v, good[i].value);
	}
}
END_TEST

START_TEST(numbers_bad)
{
	static const char *const bad[] = { "",
					   "-1",
					   "+1",
					   " 1",
					   "1 ",
					   "x",
					   "0x",
					   "1Q",
					   "1KK",
					   "18446744073709551616",
					   "17179869184G",
					   "16777216T",
					   "1P",
					   "0x10000000000000000",
					   "1e3",
					   "1.5M" };
	char why[200];
	uint64_t v;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why[0] = '\0';
		ck_assert_msg(pbt_parse_number(bad[i], &v, why, sizeof(why)) != 0,
			      "'%s' was taken for a number", bad[i]);
		ck_assert_msg(strlen(why) > 10, "'%s': '%s' is no sentence", bad[i], why);
	}
}
END_TEST

START_TEST(ranges)
{
	static const char *const bad[] = { "", "1", ":", "1:", ":1", "0:4K:1", "0-4K", "0:-1" };
	struct pb_range r;
	char why[200];
	size_t i;

	ck_assert(!pbt_parse_range("1M:0x2000", &r, why, sizeof(why)));
	ck_assert_uint_eq(r.offset, 1 << 20);
	ck_assert_uint_eq(r.length, 0x2000);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(pbt_parse_range(bad[i], &r, why, sizeof(why)) != 0,
			      "'%s' was taken for a range", bad[i]);
}
END_TEST

START_TEST(bars)
{
	static const char *const bad[] = { "",
					   ":",
					   "0000:01:00.0",
					   "01:00.0",
					   "0000:01:00.0:",
					   "0000:01:00.0:6",
					   "0000:01:00.0:-1",
					   "0000:01:00.0:2+",
					   "0000:01:00.0:2+x",
					   "0000:01:00.0:2:1M",
					   "5:2",
					   "+1M" };
	unsigned int bar = 0;
	uint64_t offset = 1;
	char bdf[40], why[200];
	size_t i;

	ck_assert(!pbt_parse_bar("0000:01:00.0:2", bdf, &bar, &offset, why, sizeof(why)));
	ck_assert_str_eq(bdf, "0000:01:00.0");
	ck_assert_uint_eq(bar, 2);
	ck_assert_uint_eq(offset, 0);
	ck_assert(!pbt_parse_bar("01:00.0:5+16M", bdf, &bar, &offset, why, sizeof(why)));
	ck_assert_str_eq(bdf, "01:00.0");
	ck_assert_uint_eq(bar, 5);
	ck_assert_uint_eq(offset, 16 << 20);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(pbt_parse_bar(bad[i], bdf, &bar, &offset, why, sizeof(why)) < 0,
			      "'%s' was taken for a BAR", bad[i]);
}
END_TEST

START_TEST(memattrs)
{
	static const char *const bad[] = { "",	    ",",	   "wc,", ",wc", "wx",
					   "wc nc", "0x100000000", "-1",  "wcnc" };
	enum pb_memattr list[3];
	unsigned int n = 0;
	char why[200];
	size_t i;

	ck_assert(!pbt_parse_memattrs("wc", list, 3, &n, why, sizeof(why)));
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(list[0], PB_WC);
	ck_assert(!pbt_parse_memattrs("WB,0x01000002,nc", list, 3, &n, why, sizeof(why)));
	ck_assert_uint_eq(n, 3);
	ck_assert_int_eq(list[0], PB_WB);
	ck_assert_uint_eq((unsigned int)list[1], 0x01000002);
	ck_assert_int_eq(list[2], PB_NC);
	ck_assert_int_eq(pbt_parse_memattrs("nc,nc,nc,nc", list, 3, &n, why, sizeof(why)), -ERANGE);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(pbt_parse_memattrs(bad[i], list, 3, &n, why, sizeof(why)) == -EINVAL,
			      "'%s' was taken for attributes", bad[i]);
		ck_assert_msg(strstr(why, "nc, wc, wb"),
			      "'%s': '%s' does not say what would be right", bad[i], why);
	}
}
END_TEST

START_TEST(bytes)
{
	static const char *const bad[] = { "", "0", "0x00", "00 11", "gg", "001" };
	uint8_t b[4];
	char why[200];
	size_t i, n = 0;

	ck_assert(!pbt_parse_bytes("00fF12", b, &n, why, sizeof(why)));
	ck_assert_uint_eq(n, 3);
	ck_assert_mem_eq(b, "\x00\xff\x12", 3);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(pbt_parse_bytes(bad[i], b, &n, why, sizeof(why)) == -EINVAL,
			      "'%s' was taken for bytes", bad[i]);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *s = suite_create("unit");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	if (argc > 1 && !strcmp(argv[1], "--debug-log"))
		return fail_for_debug_log();
	tcase_set_timeout(t, 120); /* valgrind */
	tcase_add_test(t, the_debug_log);
	tcase_add_test(t, errors_are_sentences);
	tcase_add_test(t, model_of_exporters);
	tcase_add_test(t, model_names);
	tcase_add_test(t, other_names);
	tcase_add_test(t, model_refusals);
	tcase_add_test(t, dynamic_is_refused_before_anything_else);
	tcase_add_test(t, refusals_name_the_driver);
	tcase_add_test(t, wrong_arguments_for_mmap);
	tcase_add_test(t, the_end_of_a_buffer);
	tcase_add_test(t, events_of_some_buffers);
	tcase_add_test(t, a_listed_buffer);
	tcase_add_test(t, importers_of_a_buffer);
	tcase_add_test(t, messages_that_are_wrong);
	tcase_add_test(t, messages_of_noise);
	tcase_add_test(t, lists_are_one_block);
	tcase_add_test(t, versions);
	tcase_add_test(t, structures_that_grow);
	tcase_add_test(t, what_the_module_peerbar_is_for);
	tcase_add_test(t, capabilities);
	tcase_add_test(t, fdinfo_of_a_dmabuf);
	tcase_add_test(t, fdinfo_of_something_else);
	tcase_add_test(t, fdinfo_with_a_forged_name);
	tcase_add_test(t, bdf_good);
	tcase_add_test(t, bdf_bad);
	tcase_add_test(t, holders_in_proc);
	tcase_add_test(t, holders_in_a_sentence);
	tcase_add_test(t, hole_first_fit);
	tcase_add_test(t, hole_aligned);
	tcase_add_test(t, hole_in_a_torn_aperture);
	tcase_add_test(t, hole_against_brute_force);
	tcase_add_test(t, what_a_bar_claims);
	tcase_add_test(t, runs_of_spans);
	tcase_add_test(t, runs_against_brute_force);
	tcase_add_test(t, gaps_of_an_aperture);
	tcase_add_test(t, a_guest_without_devices);
	tcase_add_test(t, a_device_that_cannot_be_exported);
	tcase_add_test(t, what_the_kernel_does_not_unmap);
	tcase_add_test(t, guests_against_brute_force);
	tcase_add_test(t, null_objects_can_be_freed);
	tcase_add_test(t, version);
	tcase_add_test(t, numbers_good);
	tcase_add_test(t, numbers_bad);
	tcase_add_test(t, ranges);
	tcase_add_test(t, bars);
	tcase_add_test(t, memattrs);
	tcase_add_test(t, bytes);
	tcase_add_test(t, link_names);
	suite_add_tcase(s, t);
	/* by themselves, because valgrind finds fault with any use of a descriptor that is not open */
	t = tcase_create("descriptors");
	tcase_add_test(t, descriptors_that_are_no_buffers);
	tcase_add_test(t, importers_of_no_buffer);
	tcase_add_test(t, descriptors_that_are_no_iommufd);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
